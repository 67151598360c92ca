#include "daemon/server/judgements.h"

#include <utility>

namespace tapdeck::server {

std::string judge_of(const exchange::CapturedFlow& flow, std::string_view sni) {
  const exchange::Identity& who = flow.identity;
  std::string out = std::to_string(who.target) + ' ' + std::to_string(who.tenant) + ' ';
  out += who.pid != 0 ? std::to_string(who.pid) : flow.client.ip();
  out += ' ';
  return out.append(sni);
}

Judgements::Known& Judgements::find(const std::string& judge) {
  if (known_.size() >= kMost && !known_.contains(judge)) known_.clear();
  return known_[judge];
}

void Judgements::took(const std::string& judge) {
  const std::scoped_lock lock(mutex_);
  Known& known = find(judge);
  known.has_taken = true;
  taken_back_ += std::exchange(known.left, 0);
}

bool Judgements::left(const std::string& judge) {
  const std::scoped_lock lock(mutex_);
  Known& known = find(judge);
  if (!known.has_taken) ++known.left;
  return known.has_taken;
}

uint64_t Judgements::taken_back() const {
  const std::scoped_lock lock(mutex_);
  return taken_back_;
}

}  // namespace tapdeck::server

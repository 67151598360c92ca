#include "daemon/server/misses.h"

#include <algorithm>
#include <utility>

namespace tapdeck::server {

void Misses::add(MissedRequest missed) {
  if (missed.url.size() > kUrlBytes) missed.url.resize(kUrlBytes);
  const std::scoped_lock lock(mutex_);
  const auto is_same = [&missed](const MissedRequest& kept) {
    return kept.method == missed.method && kept.url == missed.url && kept.reason == missed.reason;
  };
  if (const auto same = std::ranges::find_if(kept_, is_same); same != kept_.end()) {
    same->count += missed.count;
  } else if (kept_.size() < kKept) {
    kept_.push_back(std::move(missed));
  }
}

std::vector<MissedRequest> Misses::list() const {
  const std::scoped_lock lock(mutex_);
  return kept_;
}

}  // namespace tapdeck::server

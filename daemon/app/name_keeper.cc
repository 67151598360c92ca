#include "daemon/app/name_keeper.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/base/log.h"
#include "store/name_answers.h"

namespace tapdeck::app {
namespace {

std::string_view word_of(names::LookupEnd end) {
  switch (end) {
    case names::LookupEnd::Answered:
      return "answered";
    case names::LookupEnd::Silent:
      return "silent";
    case names::LookupEnd::Unreachable:
      return "unreachable";
  }
  return "";
}

}  // namespace

bool has_failed(const names::Lookup& lookup) {
  return lookup.end != names::LookupEnd::Answered || names::is_failure(lookup.reply);
}

NameKeeper::Kept NameKeeper::seen_as(const store::Take& take, const names::Lookup& lookup) {
  Kept out{take.number, lookup.end, {}, has_failed(lookup)};
  const auto answer = names::read_answer(lookup.reply);
  if (!answer) return out;
  out.says = std::to_string(static_cast<unsigned>(answer->rcode));
  for (const std::string& record : answer->records) {
    // Of a type that is shown by its size alone: all but the id counts, TTLs too.
    if (record.ends_with(" bytes)")) out.says += lookup.reply.substr(std::min<size_t>(2, lookup.reply.size()));
    out.says += '\n' + record;
  }
  return out;
}

bool NameKeeper::is_news(const Place& place, const Kept& now) {
  const std::scoped_lock lock(mutex_);
  const auto known = kept_.find(place);
  if (known != kept_.end()) {
    Kept& before = known->second;
    const bool is_this_takes = before.take == now.take;
    if (is_this_takes && now.is_failure && !before.is_failure) return false;
    if (is_this_takes && before.end == now.end && before.says == now.says) return false;
    before = now;
    return true;
  }
  if (kept_.size() < kMostNames) {
    kept_.emplace(place, now);
    return true;
  }
  if (!std::exchange(is_full_, true)) {
    log::warn("names.too_many", "more names are asked for than are kept: replay will not know the others",
              {{"names", kMostNames}});
  }
  return false;
}

void NameKeeper::keep(const store::Take& take, const names::Lookup& lookup) {
  if (writer_ == nullptr || take.number == 0) return;
  const Kept now = seen_as(take, lookup);
  if (!is_news({take.session_number, lookup.name, lookup.type}, now)) return;
  std::vector<store::PendingWrite> writes;
  writes.push_back(store::name_write(take, {lookup.name, lookup.type, std::string(word_of(lookup.end)), lookup.reply}));
  if (auto taken = writer_->submit(writes, nullptr, 0); !taken) {
    log::warn("names.not_kept", "what a resolver answered is not on tape",
              {{"name", lookup.name}, {"error", taken.error().message()}});
  }
}

}  // namespace tapdeck::app

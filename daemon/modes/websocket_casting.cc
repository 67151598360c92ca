#include "daemon/modes/websocket_casting.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace tapdeck::modes {

using config::Repeat;

namespace {

constexpr size_t kBlock = 32;  // half the bits of a cursor

uint64_t begun(size_t index) {
  return uint64_t{1} << index;
}
uint64_t confirmed(size_t index) {
  return begun(index) << kBlock;
}

// A cursor of its own, apart from the turns of the same key.
CursorKey key_of_marks(CursorKey key, uint64_t block) {
  for (size_t i = 0; i < sizeof block; ++i) {
    key.key.bytes[i] ^= 0xff;
    key.key.bytes[sizeof block + i] ^= static_cast<uint8_t>(block >> (8 * i));
  }
  return key;
}

// Applies `change` to the marks; it may return them as they are.
template <class Change>
void update(std::atomic<uint64_t>& marks, const Change& change) {
  uint64_t seen = marks.load(std::memory_order_relaxed);
  while (!marks.compare_exchange_weak(seen, change(seen), std::memory_order_relaxed)) {
  }
}

}  // namespace

WebSocketCasting::WebSocketCasting(std::string session, const std::vector<uint64_t>& ids, size_t turn, Repeat repeat,
                                   Cursors& cursors, CursorKey key)
    : session_(std::move(session)),
      turn_(turn % kBlock),
      current_(turn_),
      repeat_(repeat),
      marks_(cursors.get(key_of_marks(key, turn / kBlock))) {
  const auto first = ids.begin() + static_cast<ptrdiff_t>(turn - turn_);
  ids_.assign(first, first + std::min<ptrdiff_t>(kBlock, ids.end() - first));
}

std::optional<uint64_t> WebSocketCasting::begin() {
  current_ = turn_;
  mark_ = Mark::None;
  if (repeat_ == Repeat::Latest) return std::nullopt;
  const uint64_t all = (uint64_t{1} << ids_.size()) - 1;
  update(*marks_, [&](uint64_t marks) {
    const uint64_t free = all & ~(marks | marks >> kBlock);
    const bool anew = free == 0 && repeat_ == Repeat::Cycle;
    mark_ = free != 0 || anew ? Mark::Begun : Mark::None;
    current_ = free != 0 ? static_cast<size_t>(std::countr_zero(free)) : turn_;
    if (mark_ == Mark::None) return marks;
    return (anew ? 0 : marks) | begun(current_);
  });
  return current_ == turn_ ? std::nullopt : std::optional(ids_[current_]);
}

bool WebSocketCasting::is_confirmed(size_t index) const {
  return (marks_->load(std::memory_order_relaxed) & confirmed(index)) != 0;
}

bool WebSocketCasting::confirm() {
  if (std::exchange(asked_, true) || mark_ != Mark::Begun) return true;
  bool is_ours = false;
  update(*marks_, [&](uint64_t marks) {
    is_ours = (marks & confirmed(current_)) == 0;
    return marks | confirmed(current_);
  });
  if (is_ours) mark_ = Mark::Confirmed;
  return is_ours;
}

std::optional<uint64_t> WebSocketCasting::next(Among among) {
  tried_ |= begun(current_);
  const auto give = [this](size_t index) {
    candidate_ = index;
    tried_ |= begun(index);
    return std::optional(ids_[index]);
  };
  const auto is_tried = [this](size_t index) { return (tried_ & begun(index)) != 0; };
  const bool by_age = repeat_ != Repeat::Latest;
  for (size_t i = 0; i < ids_.size() && by_age; ++i) {
    if (!is_tried(i) && !is_confirmed(i)) return give(i);
  }
  if (among == Among::Unconfirmed || repeat_ == Repeat::Once) return std::nullopt;
  for (size_t i = ids_.size(); i-- > 0;) {
    if (!is_tried(i)) return give(i);
  }
  return std::nullopt;
}

bool WebSocketCasting::take() {
  bool was_confirmed = false;
  update(*marks_, [&](uint64_t marks) {
    was_confirmed = (marks & confirmed(candidate_)) != 0;
    if (repeat_ == Repeat::Latest || (was_confirmed && repeat_ == Repeat::Once)) return marks;
    if (mark_ != Mark::None) marks &= ~begun(current_);
    if (mark_ == Mark::Confirmed) marks &= ~confirmed(current_);
    return marks | confirmed(candidate_);
  });
  if (was_confirmed && repeat_ == Repeat::Once) return false;
  current_ = candidate_;
  asked_ = true;
  mark_ = was_confirmed || repeat_ == Repeat::Latest ? Mark::None : Mark::Confirmed;
  return true;
}

}  // namespace tapdeck::modes

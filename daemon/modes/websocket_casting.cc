#include "daemon/modes/websocket_casting.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace tapdeck::modes {

using config::Repeat;

namespace {

constexpr size_t kBlock = 32;

uint32_t bit(size_t index) {
  return uint32_t{1} << index;
}

}  // namespace

WebSocketCasting::WebSocketCasting(std::string session, const std::vector<uint64_t>& ids, size_t turn, Repeat repeat,
                                   Cursors& cursors, const CursorKey& key)
    : session_(std::move(session)),
      block_(turn / kBlock),
      turn_(turn % kBlock),
      current_(turn_),
      repeat_(repeat),
      rounds_(cursors.rounds(key)) {
  const auto first = ids.begin() + static_cast<ptrdiff_t>(turn - turn_);
  ids_.assign(first, first + std::min<ptrdiff_t>(kBlock, ids.end() - first));
}

std::optional<uint64_t> WebSocketCasting::begin() {
  current_ = turn_;
  if (repeat_ == Repeat::Latest) return std::nullopt;
  if (round_ == nullptr) {
    round_ = rounds_->current(block_);
    player_ = round_->join();
  }
  auto part = round_->claim(player_, ids_.size());
  while (!part && repeat_ == Repeat::Cycle) {
    round_ = rounds_->after(block_, round_);
    player_ = round_->join();
    part = round_->claim(player_, ids_.size());
  }
  current_ = part.value_or(turn_);
  return current_ == turn_ ? std::nullopt : std::optional(ids_[current_]);
}

bool WebSocketCasting::confirm() {
  return round_ == nullptr || round_->confirm(player_, current_, heard_);
}

uint32_t WebSocketCasting::untried() const {
  const uint32_t all = UINT32_MAX >> (kBlock - ids_.size());
  return all & ~(tried_ | bit(current_));
}

std::optional<uint64_t> WebSocketCasting::next(Among among) {
  if (among == Among::All) tried_ |= bit(current_);
  const uint32_t left = untried();
  auto index = round_ == nullptr ? std::nullopt : round_->best_of(player_, left, heard_);
  const bool may_share = among == Among::All && repeat_ != Repeat::Once;
  if (!index && may_share && left != 0) index = kBlock - 1 - static_cast<size_t>(std::countl_zero(left));
  if (!index) return std::nullopt;
  candidate_ = *index;
  tried_ |= bit(candidate_);
  return ids_[candidate_];
}

bool WebSocketCasting::take() {
  using Share = WebSocketRound::Share;
  tried_ &= ~bit(candidate_);
  const Share share = repeat_ == Repeat::Once ? Share::No : Share::Yes;
  if (round_ != nullptr && !round_->take(player_, candidate_, heard_, share)) return false;
  current_ = candidate_;
  return true;
}

void WebSocketCasting::give_back() {
  if (round_ != nullptr) round_->leave(player_);
}

}  // namespace tapdeck::modes

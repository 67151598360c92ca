#include "daemon/modes/websocket_round.h"

#include <algorithm>
#include <utility>

namespace tapdeck::modes {

namespace {

constexpr WebSocketRound::Player kNoConnection = UINT64_MAX;  // the recording is no WebSocket

}  // namespace

void Heard::add(uint64_t message) {
  if (is_full()) return;
  ++count_;
  const auto place = std::ranges::lower_bound(messages_, message);
  if (place == messages_.end() || *place != message) messages_.insert(place, message);
}

bool Heard::contains(const Heard& other) const {
  return std::ranges::includes(messages_, other.messages_);
}

WebSocketRound::Player WebSocketRound::join() {
  const std::scoped_lock lock(mutex_);
  return ++players_;
}

WebSocketRound::Part* WebSocketRound::own(Player player) {
  const auto found = std::ranges::find(parts_, player, &Part::owner);
  return found == parts_.end() ? nullptr : &*found;
}

WebSocketRound::Part& WebSocketRound::at(size_t part) {
  if (part >= parts_.size()) parts_.resize(part + 1);
  return parts_[part];
}

// Its owner, another one, may want it as much as the player.
bool WebSocketRound::is_kept(const Part& part, Player player, const Heard& heard) {
  return part.owner != 0 && part.owner != player && part.heard.contains(heard);
}

void WebSocketRound::swap(Player player, Part& part, const Heard& heard) {
  if (Part* mine = own(player)) *mine = {part.owner == player ? 0 : part.owner, {}};
  part = {player, heard};
}

std::optional<size_t> WebSocketRound::claim(Player player, size_t count) {
  const std::scoped_lock lock(mutex_);
  if (Part* before = own(player)) before->owner = kNoConnection;
  for (size_t part = 0; part < count; ++part) {
    if (at(part).owner != 0) continue;
    parts_[part] = {player, {}};
    return part;
  }
  return std::nullopt;
}

bool WebSocketRound::confirm(Player player, size_t part, const Heard& heard) {
  const std::scoped_lock lock(mutex_);
  const Part* mine = own(player);
  if (mine == nullptr) return true;
  Part& played = at(part);
  if (is_kept(played, player, heard)) return false;
  if (played.owner != player || played.heard.size() != heard.size()) swap(player, played, heard);
  return true;
}

std::optional<size_t> WebSocketRound::best_of(Player player, uint32_t parts, const Heard& heard) const {
  const std::scoped_lock lock(mutex_);
  std::optional<size_t> best;
  size_t least = SIZE_MAX;
  for (size_t part = 0; part < 32; ++part) {
    if ((parts >> part & 1) == 0) continue;
    const bool is_known = part < parts_.size();
    if (is_known && is_kept(parts_[part], player, heard)) continue;
    const size_t said = is_known ? parts_[part].heard.size() : 0;
    if (said < least) best = part;
    least = std::min(least, said);
  }
  return best;
}

bool WebSocketRound::take(Player player, size_t part, const Heard& heard, Share share) {
  const std::scoped_lock lock(mutex_);
  Part& wanted = at(part);
  if (!is_kept(wanted, player, heard)) {
    swap(player, wanted, heard);
    return true;
  }
  if (share == Share::No) return false;
  if (Part* mine = own(player)) *mine = {};
  return true;
}

void WebSocketRound::leave(Player player) {
  const std::scoped_lock lock(mutex_);
  if (Part* mine = own(player)) *mine = {};
}

WebSocketRounds::Round WebSocketRounds::current(size_t block) {
  const std::scoped_lock lock(mutex_);
  Round& round = rounds_[block];
  if (round == nullptr) round = std::make_shared<WebSocketRound>();
  return round;
}

WebSocketRounds::Round WebSocketRounds::after(size_t block, const Round& over) {
  const std::scoped_lock lock(mutex_);
  Round& round = rounds_[block];
  if (round == over) round = std::make_shared<WebSocketRound>();
  return round;
}

}  // namespace tapdeck::modes

// WebSocketRound: which connection has which of the recordings of one URL, in one round of turns: a casting sheet.
//
// Every player has a part of its own at most, and keeps the number of parts that are taken as it is: who plays another
// one than its own swaps with who had it. So players that want parts of their own, each another, all get them, in
// whatever order they speak. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace tapdeck::modes {

// What a client has said so far, a number for each message; those that are the same to the route's rules have the same.
class Heard {
 public:
  void add(uint64_t message);
  // Later messages are not added: what tells recordings apart comes early.
  [[nodiscard]] bool is_full() const { return count_ >= kMost; }
  [[nodiscard]] bool contains(const Heard& other) const;
  [[nodiscard]] size_t size() const { return messages_.size(); }

 private:
  static constexpr size_t kMost = 256;
  std::vector<uint64_t> messages_;  // in order of size, none twice
  size_t count_ = 0;
};

class WebSocketRound {
 public:
  using Player = uint64_t;
  [[nodiscard]] Player join();

  // The first of `count` parts that nobody has becomes the player's; nullopt: none is left. What it had stays taken.
  [[nodiscard]] std::optional<size_t> claim(Player player, size_t count);
  // The player goes on with `part` and has said `heard`. False: who has that part has said the same.
  [[nodiscard]] bool confirm(Player player, size_t part, const Heard& heard);
  // Of `parts`, a bit each: whose owner has said least, the first of equals; none whose owner has said all of `heard`.
  [[nodiscard]] std::optional<size_t> best_of(Player player, uint32_t parts, const Heard& heard) const;
  // The player, who has said `heard`, plays `part` from now on. Share: with its owner, where that has said the same,
  // and what the player had is free. False: it has, and may not be shared.
  enum class Share { No, Yes };
  [[nodiscard]] bool take(Player player, size_t part, const Heard& heard, Share share);
  // What the player has is free.
  void leave(Player player);

 private:
  struct Part {
    Player owner = 0;  // 0: nobody
    Heard heard;       // by the owner, in this part
  };
  [[nodiscard]] Part* own(Player player);
  Part& at(size_t part);
  [[nodiscard]] static bool is_kept(const Part& part, Player player, const Heard& heard);
  void swap(Player player, Part& part, const Heard& heard);

  mutable std::mutex mutex_;
  std::vector<Part> parts_;
  Player players_ = 0;
};

// The rounds of one URL, of blocks of its recordings each. Who is in a round that is over stays in it. Thread: any.
class WebSocketRounds {
 public:
  using Round = std::shared_ptr<WebSocketRound>;
  [[nodiscard]] Round current(size_t block);
  // The next one, if `over` is the current one; else that.
  [[nodiscard]] Round after(size_t block, const Round& over);

 private:
  std::mutex mutex_;
  std::map<size_t, Round> rounds_;
};

}  // namespace tapdeck::modes

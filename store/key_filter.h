// KeyFilter: says of a match key, without disk, lock or wait, that a session surely holds no recording of it. Hybrid
// mode asks it on the worker, so that forwarding what is new costs no trip to a reader thread.
//
// A Bloom filter that grows by slices and never forgets: a deleted key merely costs its next asker a real look-up. It
// answers "may be there" until it has been filled from the store (lookup.cc starts that at the first miss) and again
// once retired. Owner: the store, shared with tapes. Thread: may_hold() any; the rest the store's writers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "store/record.h"

namespace tapdeck::store {

class KeyFilter {
 public:
  // Ten bits a key: 1.2 % of absent keys answer "may be there" when a slice is full.
  static constexpr size_t kBitsPerKey = 10;
  // 80 MB of bits. A session with more keys goes without a filter.
  static constexpr size_t kMaxKeys = size_t{64} << 20;

  // False: no recording of that key was visible when the caller's last one became so. Wait-free.
  [[nodiscard]] bool may_hold(const Key& key) const;

  // ---- filling. Idle: adds are ignored. Filling: adds count, the answer is still "may be there".
  enum class State : uint8_t { Idle, Filling, Ready, Retired };
  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  // Idle -> Filling, with room for about `keys`; false in any other state.
  bool begin(size_t keys);
  void add(const Key& key);
  // Filling -> Ready, or back to Idle when not everything could be read.
  void finish(State state);
  // The session is gone, or too large: "may be there" for good.
  void retire() { state_.store(State::Retired, std::memory_order_release); }

 private:
  struct alignas(64) Block {
    std::array<std::atomic<uint64_t>, 8> words{};
  };
  struct Slice {
    explicit Slice(size_t keys);
    size_t capacity;  // keys; more would raise the share of false answers
    size_t used = 0;  // mutex
    std::vector<Block> blocks;
  };
  // Each slice is twice as large as the one before, so that few are asked.
  static constexpr size_t kMaxSlices = 12;
  void push_slice(size_t keys);

  std::atomic<State> state_{State::Idle};
  std::mutex mutex_;                                       // one writer at a time
  std::array<std::unique_ptr<Slice>, kMaxSlices> slices_;  // filled from the front, below count_
  std::atomic<size_t> count_{0};
  size_t keys_ = 0;  // mutex
};

}  // namespace tapdeck::store

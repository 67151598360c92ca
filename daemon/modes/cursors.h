// Cursors: how far each client has played each key: the n-th identical request gets the n-th recording.
//
// One atomic a (tape, target, client, key), in sharded maps, shared by all workers: two connections of one client count
// together. They go with their tape. Of addresses that come and go (CursorKey::client) so many are told apart; those
// beyond count as one client. Owner: the app. Thread: any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "daemon/base/endpoint.h"
#include "daemon/base/metrics.h"
#include "daemon/exchange/flow.h"
#include "store/record.h"

namespace tapdeck::modes {

struct CursorKey {
  uint64_t tape = 0;  // Tape::id: a new take, activate or mode change begins anew by itself
  TargetSlot target = 0;
  store::Key key;
  Endpoint client{};  // see cursor_key()
  friend bool operator==(const CursorKey&, const CursorKey&) = default;
};

// Whose turn a request with `key` on that flow is. Behind an interface, and through the explicit listener from another
// host, each address is a client of its own; else a target is one client.
[[nodiscard]] CursorKey cursor_key(uint64_t tape, const exchange::CapturedFlow& flow, const store::Key& key);

struct CursorKeyHash {
  size_t operator()(const CursorKey& key) const;
};

class WebSocketRounds;

class Cursors {
 public:
  using Cursor = std::shared_ptr<std::atomic<uint64_t>>;
  // The cursor of this client and key, made at 0. Holders keep it; rewinding sets it back in place.
  [[nodiscard]] Cursor get(const CursorKey& key);
  // Which WebSockets of this client and key play what. Rewinding makes another; who has begun keeps the one it holds.
  [[nodiscard]] std::shared_ptr<WebSocketRounds> rounds(const CursorKey& key);
  // It was not that recording's turn. A cursor that was rewound meanwhile stays at its begin.
  static void give_back_turn(std::atomic<uint64_t>& cursor);
  // Back to the first recording: of one target, or of all (kAll). What nobody holds is forgotten, as it begins there.
  static constexpr int kAll = -1;
  void rewind(int target);
  // Those of `target` for its tapes up to this one, which it has no more. Exchanges that began with such a tape keep
  // the cursors they hold; one that they make yet goes with the target's next tape.
  void forget(TargetSlot target, uint64_t tape);
  [[nodiscard]] size_t size();

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kMostOfAddresses = 1 << 14;  // in a shard: 40 MiB in all
  template <typename Value>
  using Map = std::unordered_map<CursorKey, std::shared_ptr<Value>, CursorKeyHash>;
  struct Shard {
    std::mutex mutex;
    Map<std::atomic<uint64_t>> cursors;
    Map<WebSocketRounds> rounds;
  };
  template <typename Value>
  [[nodiscard]] std::shared_ptr<Value> of(Map<Value> Shard::* map, const CursorKey& key);
  std::array<Shard, kShards> shards_;
};

}  // namespace tapdeck::modes

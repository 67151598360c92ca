// ReplayHandler: answers from the store, never from the network. A miss explains itself.
//
// Hits in the worker's hot cache are answered without waiting; anything else hops to the reader pool once.
// Owner: the worker. Thread: its own.
#pragma once

#include <memory>
#include <string>

#include "daemon/config/config.h"
#include "daemon/exchange/handler.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/hot_cache.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"
#include "store/redact.h"

namespace tapdeck::modes {

struct ReplayContext {
  const store::ExchangeStore* store = nullptr;
  const store::Redactor* redactor = nullptr;
  net::ThreadPool* readers = nullptr;
  Cursors* cursors = nullptr;
  Metrics* metrics = nullptr;
  size_t hot_bytes = 64ULL << 20;
  std::chrono::milliseconds idle_timeout{300'000};  // of a replayed WebSocket
};

// What is asked for: the key and its comparable parts.
struct Question {
  store::Key key;
  store::KeyParts parts;
};

// A question in the making: the request's head, then its body as it is read.
class Asking {
 public:
  // All must outlive it.
  Asking(const exchange::Exchange& exchange, const Tape& tape, const config::Route* route, Metrics& metrics)
      : builder_(begin(exchange, tape)), body_key_(route, exchange.request(), tape.hasher, metrics) {}
  // The key of a request without a body is this builder's.
  [[nodiscard]] static store::KeyBuilder begin(const exchange::Exchange& exchange, const Tape& tape);
  void body(std::string_view bytes) {
    builder_.body(bytes);
    body_key_.update(bytes);
  }
  // Once, after the whole body.
  [[nodiscard]] Question finish();

 private:
  store::KeyBuilder builder_;
  BodyKey body_key_;
};

// How a lookup ended.
struct Found {
  std::shared_ptr<const ReplayItem> item;  // null: a miss
  bool exhausted = false;                  // Repeat::Once and all were used
};

class ReplayHandler final {
 public:
  explicit ReplayHandler(ReplayContext context) : context_(context), cache_(context.hot_bytes) {}

  // The hot path. No: not in memory, or not to be sent without waiting.
  exchange::Served serve_now(exchange::Exchange& exchange, const TargetState& target, config::Repeat repeat);
  // Replays or explains the miss. `snapshot_target` must stay alive until it returns.
  net::Task<Result<void>> serve(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                                std::string_view route_name);

  // ---- the steps, for hybrid mode
  net::Task<Result<Found>> find(exchange::Exchange& exchange, const TargetState& target, const Question& question,
                                config::Repeat repeat);
  net::Task<Result<void>> play(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                               const config::Route* route);
  net::Task<Result<void>> explain_miss(exchange::Exchange& exchange, const TargetState& target,
                                       const Question& question, std::string_view route_name, const Found& found);

 private:
  net::Task<Result<HotEntry*>> load_entry(const CursorKey& key, const TargetState& target);
  net::Task<Result<std::shared_ptr<const ReplayItem>>> load(CursorKey key, const TargetState& target, uint64_t id);
  void count_hit(exchange::Exchange& exchange, const ReplayItem& item);

  ReplayContext context_;
  HotCache cache_;
};

}  // namespace tapdeck::modes

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
  std::optional<store::Key> conditional;  // of the origin's own answers to this condition or range
  std::optional<store::Key> as_get;       // of the GET that answers a HEAD
};

// A question in the making: the request's head, then its body as it is read.
class Asking {
 public:
  // All must outlive it.
  Asking(const exchange::Exchange& exchange, const Tape& tape, const config::Route* route, Metrics& metrics)
      : exchange_(exchange),
        tape_(tape),
        builder_(begin(exchange, tape, store::key_method(exchange.request()))),
        body_key_(route, exchange.request(), tape.hasher, metrics) {}
  // The key of a request without a body is this builder's.
  [[nodiscard]] static store::KeyBuilder begin(const exchange::Exchange& exchange, const Tape& tape,
                                               std::string_view method);
  void body(std::string_view bytes) {
    builder_.body(bytes);
    body_key_.update(bytes);
  }
  // Once, after the whole body.
  [[nodiscard]] Question finish();

 private:
  const exchange::Exchange& exchange_;
  const Tape& tape_;
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
  exchange::Served serve_now(exchange::Exchange& exchange, const TargetState& target, const config::Route* route);
  // Replays or explains the miss. `snapshot_target` must stay alive until it returns.
  net::Task<Result<void>> serve(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                                std::string_view route_name);

  // ---- the steps, for hybrid mode
  // Known without waiting, and counted as a miss then. False: find() out.
  [[nodiscard]] bool is_surely_absent(const TargetState& target, const Question& question);
  // The recording whose turn it is: of this very condition (each once), else of the plain request, else for HEAD of the
  // GET.
  net::Task<Result<Found>> find(exchange::Exchange& exchange, const TargetState& target, const Question& question,
                                const config::Route* route);
  // As recorded, or as the request asks for it (rendition.h), at the route's pace.
  net::Task<Result<void>> play(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                               const config::Route* route);
  net::Task<Result<void>> explain_miss(exchange::Exchange& exchange, const TargetState& target,
                                       const Question& question, std::string_view route_name, const Found& found);

 private:
  net::Task<Result<Found>> find_key(const CursorKey& key, const TargetState& target, config::Repeat repeat);
  net::Task<Result<HotEntry*>> load_entry(const CursorKey& key, const TargetState& target);
  net::Task<Result<std::shared_ptr<const ReplayItem>>> load(CursorKey key, const TargetState& target, uint64_t id);
  void count_hit(exchange::Exchange& exchange, const ReplayItem& item);

  ReplayContext context_;
  HotCache cache_;
};

}  // namespace tapdeck::modes

// Worker: one thread, one event loop, and everything that lives on it: listeners, connections, upstream pool, replay
// cache, handlers. What it shares with other workers is in SharedParts (docs/ARCHITECTURE.md, "Threads").
//
// Owner: the app. Public calls from any thread; they post.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "daemon/base/unique_fd.h"
#include "daemon/config/config.h"
#include "daemon/exchange/flow.h"
#include "daemon/modes/cursors.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/server/judgements.h"
#include "daemon/server/misses.h"
#include "daemon/tls/client_context.h"
#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/server_context.h"
#include "daemon/upstream/connection.h"
#include "daemon/upstream/own_addresses.h"
#include "daemon/upstream/resolver.h"
#include "store/exchange_store.h"
#include "store/redact.h"
#include "store/store_writer.h"

namespace tapdeck::server {

// Which listener a connection came in by, as the capture layer wants it back. Opaque here.
struct ListenerTag {
  CapturePath path = CapturePath::Explicit;
  uint64_t id = 0;
  uint64_t netns_cookie = 0;
  uint32_t target = 0;
};

// Tells where an accepted connection was going. Called on worker threads; must be quick.
class FlowSource {
 public:
  virtual ~FlowSource() = default;
  // NotFound: nobody captured it; the connection is refused.
  [[nodiscard]] virtual Result<exchange::CapturedFlow> resolve(const ListenerTag& listener, const Endpoint& client,
                                                               const Endpoint& local) = 0;
};

// What all workers share; everything outlives them. `store`, `writer`, `redactor` are null without a store.
struct SharedParts {
  const config::Config* config = nullptr;
  FlowSource* flows = nullptr;
  upstream::SocketSource* sockets = nullptr;
  const tls::UpstreamTrust* trust = nullptr;
  const tls::ServerContext* server_tls = nullptr;
  tls::LeafCache* leaves = nullptr;
  store::ExchangeStore* store = nullptr;
  store::StoreWriter* writer = nullptr;
  const store::Redactor* redactor = nullptr;
  modes::RuntimeState* runtime = nullptr;
  modes::Cursors* cursors = nullptr;
  Misses* misses = nullptr;          // null: nobody asks for them
  Judgements* judgements = nullptr;  // null: each connection is looked at alone
  MetricsRegistry* metrics = nullptr;
  upstream::Resolver* resolver = nullptr;          // null: no explicit listener, nothing has a name
  const upstream::OwnAddresses* own = nullptr;     // null: we listen nowhere
  std::atomic<uint64_t>* connections = nullptr;    // of all workers, for limits.connections
  const std::atomic<bool>* interrupted = nullptr;  // as modes::RecordContext's
  std::chrono::milliseconds tick{100};             // how often a worker shows that its loop turns
};

class Worker {
 public:
  Worker(unsigned number, const SharedParts& parts);
  ~Worker();  // stop() must have returned
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  void add_listener(UniqueFd fd, ListenerTag tag);
  void remove_listener(uint64_t id);
  // The target of this slot was detached: idle connections of it are closed, busy ones after what is being answered.
  void let_go(TargetSlot target);
  // No process is left where the target of this slot captures: what is open for those that were there is broken off.
  void lose_dead(TargetSlot target);
  // The target of this slot is replayed from now on: nothing may go on between its clients and their origins.
  void reset_tunnels(TargetSlot target);
  // Accepts nothing more; what is open finishes. is_drained() says when.
  void drain();
  // For who drains and knows that no client lives: breaks off what is open for those that have ended their side by now.
  void drop_left();
  [[nodiscard]] bool is_drained() const { return drained_.load(std::memory_order_acquire); }
  // Breaks what is left and joins the thread.
  void stop();
  // Grows with every turn of the loop's tick; a value that stands still means a hung worker.
  [[nodiscard]] uint64_t ticks() const { return ticks_.load(std::memory_order_relaxed); }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::thread thread_;
  std::atomic<uint64_t> ticks_{0};
  std::atomic<bool> drained_{false};
};

}  // namespace tapdeck::server

#include "daemon/server/worker.h"

#include <netinet/in.h>
#include <pthread.h>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>

#include <algorithm>
#include <list>
#include <optional>
#include <utility>

#include "daemon/base/at_end.h"
#include "daemon/config/bypass.h"
#include "daemon/modes/select.h"
#include "daemon/modes/store_link.h"
#include "daemon/net/log_exception.h"
#include "daemon/proxy/proxy_handler.h"
#include "daemon/server/access_log.h"
#include "daemon/server/connection.h"
#include "daemon/server/connection_place.h"
#include "daemon/server/dead_clients.h"
#include "daemon/server/listener.h"
#include "daemon/server/nested_connect.h"
#include "daemon/upstream/connect.h"
#include "daemon/upstream/name_cache.h"

namespace tapdeck::server {

namespace {
// Whatever the tick is: short against the times that the pool keeps a connection.
constexpr std::chrono::milliseconds kSweepEvery{200};

modes::StoreLinkOptions link_options(const config::Storage& storage) {
  modes::StoreLinkOptions options;
  options.hold_limit = storage.hold_limit;
  switch (storage.durability) {
    case config::Durability::Wal:
      break;
    case config::Durability::Fsync:
      options.commit_histogram = Histogram::CommitFsync;
      break;
    case config::Durability::Async:
      options.hold = modes::Hold::No;
      break;
  }
  return options;
}

void report(const std::exception_ptr& failure) {
  net::log_exception("connection.exception", "a connection", failure);
}

}  // namespace

// Members in order of dependence: what is used by others is declared, and so destroyed last, before them.
struct Worker::Impl {
  Impl(Worker& owner, unsigned number, const SharedParts& shared)
      : worker(owner),
        parts(shared),
        name("worker-" + std::to_string(number)),
        io(1),
        executor(io.get_executor()),
        guard(asio::make_work_guard(io)),
        metrics(shared.metrics->create()),
        view(*shared.runtime),
        readers(1),
        allowed(shared.config->proxy.allow),
        bypass(shared.config->tls.bypass),
        dial{
            executor,
            shared.sockets,
            shared.trust,
            &tls_sessions,
            &metrics,
            {static_cast<size_t>(shared.config->limits.head_bytes), static_cast<size_t>(shared.config->limits.headers)},
            shared.config->limits.connect_timeout,
            shared.config->limits.tls_timeout,
            shared.config->limits.idle_timeout},
        pool(dial, pool_options()),
        forward(pool, metrics, executor),
        access_log(metrics, shared.config->log, shared.redactor, shared.misses),
        connections_group(executor, report),
        housekeeping(executor, report),
        tick_timer(executor) {
    make_modes();
    make_proxy();
    context.emplace(WorkerContext{executor,
                                  metrics,
                                  view,
                                  dial,
                                  pool,
                                  *handler,
                                  *proxy_handler,
                                  access_log,
                                  *parts.server_tls,
                                  *parts.leaves,
                                  parts.store,
                                  link.get(),
                                  readers,
                                  parts.config->limits,
                                  parts.config->tls,
                                  bypass,
                                  parts.config->routes,
                                  {parts.config->capture.splice == config::Splice::Splice ? Move::Splice : Move::Copy,
                                   parts.config->limits.idle_timeout},
                                  parts.misses,
                                  parts.judgements});
  }

  [[nodiscard]] upstream::PoolOptions pool_options() const {
    upstream::PoolOptions options;
    options.verify_ttl = parts.config->tls.verify_ttl;
    return options;
  }

  void make_modes() {
    if (parts.store != nullptr) {
      modes::ReplayContext replay_context{parts.store, parts.redactor, &readers, parts.cursors, &metrics};
      replay_context.idle_timeout = parts.config->limits.idle_timeout;
      replay_context.refused = parts.config->proxy.replay_refused;
      replay = std::make_unique<modes::ReplayHandler>(replay_context);
    }
    if (parts.writer != nullptr) {
      link = std::make_unique<modes::StoreLink>(executor, *parts.writer, metrics, link_options(parts.config->storage));
      const config::Limits& limits = parts.config->limits;
      const modes::RecordContext record_context{parts.store,   link.get(),       parts.redactor,
                                                &metrics,      limits.max_body,  limits.body_oversize,
                                                parts.cursors, parts.interrupted};
      record = std::make_unique<modes::RecordHandler>(record_context, forward);
    }
    modes::ModeOptions options{parts.config->routes, static_cast<size_t>(parts.config->limits.body_buffer),
                               parts.config->limits.max_body, parts.config->limits.body_oversize, bypass};
    handler =
        std::make_unique<modes::ModeHandler>(view, std::move(options), forward, record.get(), replay.get(), metrics);
  }

  void make_proxy() {
    if (parts.resolver != nullptr) names.emplace(*parts.resolver, metrics);
    dial.names = names ? &*names : nullptr;
    dial.own = parts.own;
    dial.parked = &parked;
    nested_connect = std::make_unique<NestedConnect>(
        dial, forward, [this](exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream) {
          return admit(std::move(flow), std::move(stream));
        });
    proxy_handler = std::make_unique<proxy::ProxyHandler>(
        *handler, *nested_connect, parts.config->routes,
        [this](const exchange::Exchange& exchange) { return view.get().targets[exchange.flow().identity.target].name; },
        [own = parts.own](const Endpoint& endpoint) { return own != nullptr && own->is_proxy(endpoint); }, metrics);
  }

  // Loopback, and whom the configuration names. There is no other way to use us as a proxy.
  [[nodiscard]] bool may_use_proxy(const Endpoint& client) const {
    if (client.is_loopback() || parts.config->proxy.allow_remote) return true;
    return allowed.match({}, client);
  }

  [[nodiscard]] Result<exchange::CapturedFlow> flow_of(const ListenerTag& tag, const Endpoint& client,
                                                       const Endpoint& local) {
    exchange::CapturedFlow flow;
    if (tag.path != CapturePath::Explicit) {
      TRY(captured, parts.flows->resolve(tag, client, local));
      flow = std::move(captured);
      // Captured on its way to our own listener: served there at once, as nothing is ever forwarded to ourselves.
      if (parts.own == nullptr || !parts.own->is_proxy(flow.destination)) return flow;
    } else if (may_use_proxy(client)) {
      flow.client = client;
      flow.path = CapturePath::Explicit;
      flow.identity.target = static_cast<TargetSlot>(tag.target);
    } else {
      metrics.add(Counter::ProxyRefusedClient);
      return fail(Code::Permission, "the client is not in proxy.allow");
    }
    flow.destination = {};
    flow.to_proxy = true;
    return flow;
  }

  void accepted(const ListenerTag& tag, UniqueFd fd, const Endpoint& client) {
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&raw), &size);
    const Endpoint local = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
    auto flow = flow_of(tag, client, local);
    if (!flow) {
      if (tag.path != CapturePath::Explicit) metrics.add(Counter::NoFlowRefused);
      const linger reset{1, 0};  // the client learns at once that nothing was taken
      setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      return;
    }
    auto stream = std::make_unique<net::Stream>(executor, std::move(fd), Origin::Downstream);
    ignore(admit(std::move(*flow), std::move(stream)), "the client was told, the metric counts it");
  }

  // False: there are too many connections, and this one was reset.
  bool admit(exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream) {
    auto place = ConnectionPlace::take(*parts.connections, parts.config->limits.connections);
    if (!place) {
      metrics.add(Counter::LimitConnections);
      stream->abort();
      return false;
    }
    const modes::TargetState& target = view.get().targets[flow.identity.target];
    flow.identity.label = target.label;
    flow.identity.tenant = target.tenant;
    const net::TaskGroup::Id task = connections_group.next_id();
    connections_group.spawn(serve(std::move(flow), std::move(stream), task, std::move(*place)));
    return true;
  }

  net::Task<> serve(exchange::CapturedFlow flow, std::unique_ptr<net::Stream> stream, net::TaskGroup::Id task,
                    ConnectionPlace /*held to the end*/) {
    const auto entry = connections.emplace(connections.end(), *context, std::move(flow), std::move(stream));
    const AtEnd leave([this, entry] {
      connections.erase(entry);
      check_drained();
    });
    entry->set_task(task);
    if (draining) entry->drain();
    co_await entry->run();
  }

  net::Task<> listen(std::list<Listener>::iterator listener) {
    const AtEnd leave([this, listener] {
      metrics.add(Gauge::Listeners, -1);
      listeners.erase(listener);
      check_drained();
    });
    co_await listener->run();
  }

  net::Task<> tick() {
    auto due = exchange::Clock::now() + parts.tick;
    auto sweep_due = due;
    while (!stopping) {
      tick_timer.expires_at(due);
      auto [error] = co_await tick_timer.async_wait(net::kToken);
      if (error) break;
      const auto now = exchange::Clock::now();
      metrics.observe(Histogram::LoopLag, std::chrono::duration<double>(now - due).count());
      worker.ticks_.fetch_add(1, std::memory_order_relaxed);
      if (due >= sweep_due) {
        pool.sweep();
        sweep_due = due + kSweepEvery;
      }
      due = std::max(due + parts.tick, now);
    }
  }

  void check_drained() {
    if (draining && connections.empty() && listeners.empty()) worker.drained_.store(true, std::memory_order_release);
  }

  void drain() {
    draining = true;
    for (Listener& listener : listeners) listener.close();
    each([](Connection& connection) { connection.drain(); });
    pool.clear();
    check_drained();
  }

  // `act` may end the connection that it is given, which is then no longer in the list.
  void each(auto&& act) {
    for (auto entry = connections.begin(); entry != connections.end();) act(*entry++);
  }

  net::Task<> shut_down() {
    for (Listener& listener : listeners) listener.close();
    for (Connection& connection : connections) connection.abort();
    connections_group.cancel();
    co_await connections_group.join();
    co_await pool.close();
    if (link != nullptr) link->close();
    readers.join();
    stopping = true;
    tick_timer.cancel();
    guard.reset();
  }

  Worker& worker;
  SharedParts parts;
  std::string name;
  asio::io_context io;
  asio::any_io_executor executor;
  asio::executor_work_guard<asio::io_context::executor_type> guard;
  Metrics& metrics;
  modes::RuntimeView view;
  asio::thread_pool readers;
  tls::ClientSessionCache tls_sessions;
  std::optional<upstream::NameCache> names;
  upstream::ParkedStreams parked;
  config::BypassRules allowed, bypass;
  upstream::DialContext dial;
  upstream::Pool pool;
  modes::ForwardHandler forward;
  std::unique_ptr<modes::StoreLink> link;
  std::unique_ptr<modes::ReplayHandler> replay;
  std::unique_ptr<modes::RecordHandler> record;
  std::unique_ptr<modes::ModeHandler> handler;
  std::unique_ptr<NestedConnect> nested_connect;
  std::unique_ptr<proxy::ProxyHandler> proxy_handler;
  AccessLog access_log;
  std::optional<WorkerContext> context;
  std::list<Connection> connections;
  std::list<Listener> listeners;
  net::TaskGroup connections_group;  // connections and listeners
  net::TaskGroup housekeeping;
  asio::steady_timer tick_timer;
  bool draining = false;
  bool stopping = false;
};

Worker::Worker(unsigned number, const SharedParts& parts) : impl_(std::make_unique<Impl>(*this, number, parts)) {}
Worker::~Worker() {
  if (thread_.joinable()) stop();
}

void Worker::start() {
  thread_ = std::thread([this] {
    log::set_thread_name(impl_->name.c_str());
    pthread_setname_np(pthread_self(), impl_->name.c_str());
    impl_->housekeeping.spawn(impl_->tick());
    impl_->io.run();
  });
}

void Worker::add_listener(UniqueFd fd, ListenerTag tag) {
  asio::post(impl_->io, [impl = impl_.get(), tag, shared = std::make_shared<UniqueFd>(std::move(fd))] {
    if (impl->draining) return;
    auto on_accept = [impl](const ListenerTag& from, UniqueFd accepted, const Endpoint& client) {
      impl->accepted(from, std::move(accepted), client);
    };
    const auto listener = impl->listeners.emplace(impl->listeners.end(), impl->executor, std::move(*shared), tag,
                                                  impl->metrics, on_accept);
    impl->metrics.add(Gauge::Listeners, 1);
    impl->connections_group.spawn(impl->listen(listener));
  });
}

void Worker::remove_listener(uint64_t id) {
  asio::post(impl_->io, [impl = impl_.get(), id] {
    for (Listener& listener : impl->listeners) {
      if (listener.tag().id == id) listener.finish();
    }
  });
}

void Worker::reset_tunnels(TargetSlot target) {
  asio::post(impl_->io, [impl = impl_.get(), target] {
    const uint64_t tenant = impl->view.get().targets[target].tenant;
    for (Connection& connection : impl->connections) {
      if (connection.is_of(target, tenant)) connection.reset_tunnel();
    }
  });
}

void Worker::let_go(TargetSlot target) {
  asio::post(impl_->io, [impl = impl_.get(), target] {
    const uint64_t tenant = impl->view.get().targets[target].tenant;
    impl->each([&](Connection& connection) {
      if (connection.is_of(target) && !connection.is_of(target, tenant)) connection.let_go();
    });
  });
}

void Worker::lose_dead(TargetSlot target) {
  asio::post(impl_->io, [impl = impl_.get(), target] {
    const uint64_t tenant = impl->view.get().targets[target].tenant;
    net::TaskGroup& group = impl->connections_group;
    if (!impl->draining) group.spawn(drop_dead_clients(impl->connections, group, target, tenant));
  });
}

void Worker::drain() {
  asio::post(impl_->io, [impl = impl_.get()] { impl->drain(); });
}

void Worker::drop_left() {
  asio::post(impl_->io, [impl = impl_.get()] {
    impl->each([impl](Connection& connection) {
      if (connection.drop_left()) impl->connections_group.cancel(connection.task());
    });
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  asio::post(impl_->io, [impl = impl_.get()] {
    impl->draining = true;
    impl->housekeeping.spawn(impl->shut_down());
  });
  thread_.join();
}

}  // namespace tapdeck::server

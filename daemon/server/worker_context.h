// WorkerContext: what every connection of a worker uses. References to things the Worker (or the app) owns and which
// outlive all connections. Thread: the worker's.
#pragma once

#include <asio/thread_pool.hpp>

#include "daemon/config/bypass.h"
#include "daemon/config/config.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/modes/store_link.h"
#include "daemon/server/judgements.h"
#include "daemon/server/misses.h"
#include "daemon/server/session.h"
#include "daemon/server/tunnel.h"
#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/server_context.h"
#include "daemon/upstream/pool.h"
#include "store/exchange_store.h"

namespace tapdeck::server {

struct WorkerContext {
  asio::any_io_executor executor;
  Metrics& metrics;
  modes::RuntimeView& view;
  upstream::DialContext& dial;
  upstream::Pool& pool;
  exchange::Handler& handler;        // of captured flows
  exchange::Handler& proxy_handler;  // of clients that talk to the explicit listener
  ExchangeObserver& observer;
  const tls::ServerContext& server_tls;
  tls::LeafCache& leaves;
  const store::ExchangeStore* store;  // null: passthrough only
  modes::StoreLink* link;             // null: nothing is recorded
  asio::thread_pool& readers;
  const config::Limits& limits;
  const config::Tls& tls;
  const config::BypassRules& bypass;  // for all targets
  const std::vector<config::Route>& routes;
  TunnelOptions tunnel;
  Misses* misses;          // null: nobody asks for them
  Judgements* judgements;  // null: each connection is looked at alone
};

}  // namespace tapdeck::server

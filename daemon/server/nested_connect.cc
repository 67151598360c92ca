#include "daemon/server/nested_connect.h"

#include <utility>

#include "daemon/exchange/error_response.h"
#include "daemon/upstream/connection.h"

namespace tapdeck::server {

net::Task<Result<void>> NestedConnect::serve(exchange::Exchange& exchange) {
  auto pair = net::Stream::make_pair(dial_.executor);
  exchange::CapturedFlow flow = exchange.flow();
  flow.destination = {};
  flow.route = nullptr;
  flow.to_proxy = true;
  flow.is_nested = true;
  const bool admitted = pair && admit_(std::move(flow), std::move(pair->server));
  if (!admitted) {
    exchange.facts().error = "too_many_connections";
    co_return co_await exchange::respond_json(exchange, 503,
                                              "{\"error\":\"too_many_connections\",\"detail\":\"limits.connections, or "
                                              "the descriptors of the daemon, are used up\"}\n");
  }
  upstream::Channel channel;
  channel.transport = std::make_unique<transport::Transport>(std::move(pair->client));
  exchange.facts().is_nested = true;
  exchange.facts().outcome = Outcome::Forwarded;
  co_return co_await forward_.serve_over(exchange, std::make_unique<upstream::Connection>(dial_, std::move(channel)));
}

}  // namespace tapdeck::server

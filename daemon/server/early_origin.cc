#include "daemon/server/early_origin.h"

#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/error_response.h"

namespace tapdeck::server {
namespace {

void tell_unreachable(const exchange::CapturedFlow& flow, const Error& error) {
  log::peer(log::Level::Info, "tunnel.dial_failed", "the origin of a tunnel could not be reached",
            {{"destination", flow.destination_text()}, {"error", error.message()}});
}

}  // namespace

void EarlyOrigin::keep_or_share(std::unique_ptr<upstream::Lane> lane) {
  const bool may_tunnel = lane != nullptr && lane->whole() != nullptr && !lane->reused &&
                          lane->channel().tls.alpn.empty() && !facts_.is_http_by_alpn() && !facts_.is_sealed();
  if (may_tunnel) {
    learned_ = std::move(lane);
  } else {
    facts_.worker.pool.give_back(std::move(lane));
  }
}

net::Task<std::unique_ptr<net::Stream>> EarlyOrigin::reach_plain() {
  if (dialed_ != nullptr) co_return std::move(dialed_);
  const upstream::Key key = facts_.plain_key();
  auto connected = co_await upstream::connect_to(facts_.worker.dial, key);
  if (connected) co_return std::move(*connected);
  const Error& error = connected.error();
  if (error.origin == Origin::Upstream) facts_.worker.metrics.add(exchange::counter_of(error));
  tell_unreachable(facts_.flow, error);
  facts_.worker.pool.expect_failure(key, facts_.flow.connection, error);
  co_return nullptr;
}

net::Task<std::unique_ptr<upstream::Lane>> EarlyOrigin::reach_tls() {
  if (learned_ != nullptr) co_return std::move(learned_);
  upstream::Key key = facts_.tls_key();
  key.alpn.clear();  // the client offers none, whatever a route says of HTTP
  const upstream::Asker asker{facts_.flow.connection};
  auto acquired = co_await facts_.worker.pool.acquire(key, upstream::Fresh::Yes, asker);
  if (acquired.lane != nullptr && acquired.lane->whole() != nullptr) co_return std::move(acquired.lane);
  const Error& error = acquired.error;
  const auto failed_at = acquired.failed_at.value_or(exchange::Clock::now());
  if (error.origin == Origin::Upstream) facts_.worker.metrics.add(exchange::counter_of(error));
  tell_unreachable(facts_.flow, error);
  facts_.worker.pool.expect_failure(key, facts_.flow.connection, error, failed_at);
  co_return nullptr;
}

void EarlyOrigin::park() {
  if (dialed_ == nullptr) return;
  parked_ = facts_.worker.dial.parked->park(facts_.plain_key(), std::move(dialed_));
}

void EarlyOrigin::share() {
  park();
  facts_.worker.pool.give_back(std::move(learned_));
}

}  // namespace tapdeck::server

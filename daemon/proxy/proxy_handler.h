// ProxyHandler: the Handler of connections to the explicit listener. Reads where each request wants to go, shows it to
// the modes as a request to that origin, and refuses what names none.
//
// Owner: the worker. Thread: its own.
#pragma once

#include <functional>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/exchange/handler.h"
#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {

class ProxyHandler final : public exchange::Handler {
 public:
  // `target_name`: what the target of an exchange is called, for routes with a `target`.
  using TargetName = std::function<std::string(const exchange::Exchange&)>;
  // `connect`: serves a CONNECT that is a stream, or a later request, of a connection.
  ProxyHandler(exchange::Handler& inner, exchange::Handler& connect, const std::vector<config::Route>& routes,
               TargetName target_name, IsProxy is_proxy, Metrics& metrics)
      : inner_(inner),
        connect_(connect),
        routes_(routes),
        target_name_(std::move(target_name)),
        is_proxy_(std::move(is_proxy)),
        metrics_(metrics) {}

  exchange::Served serve_now(exchange::Exchange& exchange) override;
  net::Task<Result<void>> serve(exchange::Exchange& exchange) override;

 private:
  [[nodiscard]] Plan plan(const exchange::Exchange& exchange) const;
  static net::Task<Result<void>> answer(exchange::Exchange& exchange, const OwnAnswer& own);
  net::Task<Result<void>> refuse(exchange::Exchange& exchange, const Refused& why);

  exchange::Handler& inner_;
  exchange::Handler& connect_;
  const std::vector<config::Route>& routes_;
  TargetName target_name_;
  IsProxy is_proxy_;
  Metrics& metrics_;
};

}  // namespace tapdeck::proxy

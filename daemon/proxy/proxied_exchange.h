// ProxiedExchange: an Exchange as it is towards the origin of an explicit or reverse request: another head, another
// destination, and no field in either direction that ends at a proxy.
//
// Modes and recordings below it see what the origin sees, so that one recording serves captured and proxied clients.
// Owner: the ProxyHandler's coroutine. Thread: the worker's.
#pragma once

#include <utility>

#include "daemon/exchange/exchange_decorator.h"
#include "daemon/proxy/hop_by_hop.h"
#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {

class ProxiedExchange final : public exchange::ExchangeDecorator {
 public:
  ProxiedExchange(exchange::Exchange& inner, Forwarded plan)
      : ExchangeDecorator(inner), head_(std::move(plan.head)), flow_(inner.flow()) {
    plan.destination.apply(flow_, std::move(plan.route));
    inner.facts().route = flow_.route;
  }

  const http::RequestHead& request() const override { return head_; }
  const exchange::CapturedFlow& flow() const override { return flow_; }
  Result<void> inform(const http::ResponseHead& head) override { return inner_.inform(without_hop_by_hop(head)); }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override {
    return inner_.respond(without_hop_by_hop(head), end);
  }

 private:
  [[nodiscard]] static http::ResponseHead without_hop_by_hop(const http::ResponseHead& head) {
    http::ResponseHead out = head;
    strip_hop_by_hop(out.headers);
    return out;
  }
  http::RequestHead head_;
  exchange::CapturedFlow flow_;
};

}  // namespace tapdeck::proxy

// ProxiedExchange: an Exchange as it is towards the origin of an explicit or reverse request: another head, another
// destination, and no field in either direction that ends at a proxy.
//
// Modes and recordings below it see what the origin sees and says, so that one recording serves captured and proxied
// clients; redirects within a reverse route's upstream are turned to us on their way to the client.
// Owner: the ProxyHandler's coroutine. Thread: the worker's.
#pragma once

#include <optional>
#include <utility>

#include "daemon/exchange/exchange_decorator.h"
#include "daemon/proxy/hop_by_hop.h"
#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {

class ProxiedExchange final : public exchange::ExchangeDecorator {
 public:
  ProxiedExchange(exchange::Exchange& inner, Forwarded plan)
      : ExchangeDecorator(inner), head_(std::move(plan.head)), back_(std::move(plan.back)), flow_(inner.flow()) {
    plan.destination.apply(flow_, std::move(plan.route));
    inner.facts().route = flow_.route;
  }

  const http::RequestHead& request() const override { return head_; }
  const exchange::CapturedFlow& flow() const override { return flow_; }
  Result<void> inform(const http::ResponseHead& head) override { return inner_.inform(without_hop_by_hop(head)); }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override {
    http::ResponseHead out = without_hop_by_hop(head);
    if (back_) back_->apply(out.headers);
    return inner_.respond(out, end);
  }

 private:
  [[nodiscard]] static http::ResponseHead without_hop_by_hop(const http::ResponseHead& head) {
    http::ResponseHead out = head;
    strip_hop_by_hop(out);
    return out;
  }
  http::RequestHead head_;
  std::optional<WayBack> back_;
  exchange::CapturedFlow flow_;
};

}  // namespace tapdeck::proxy

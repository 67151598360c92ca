// ProxiedExchange: an Exchange as it is towards the origin of an explicit or reverse request: another head, another
// destination, and no field in either direction that ends at a proxy.
//
// Modes and recordings below it see what the origin sees, so that one recording serves captured and proxied clients.
// Owner: the ProxyHandler's coroutine. Thread: the worker's.
#pragma once

#include <utility>

#include "daemon/exchange/exchange.h"
#include "daemon/proxy/hop_by_hop.h"
#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {

class ProxiedExchange final : public exchange::Exchange {
 public:
  ProxiedExchange(exchange::Exchange& inner, Forwarded plan)
      : inner_(inner), head_(std::move(plan.head)), flow_(inner.flow()) {
    plan.destination.apply(flow_, std::move(plan.route));
  }

  const http::RequestHead& request() const override { return head_; }
  const exchange::CapturedFlow& flow() const override { return flow_; }
  Result<void> inform(const http::ResponseHead& head) override { return inner_.inform(without_hop_by_hop(head)); }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override {
    return inner_.respond(without_hop_by_hop(head), end);
  }

  bool request_is_bodyless() const override { return inner_.request_is_bodyless(); }
  net::Task<Result<exchange::BodyPiece>> read_body() override { return inner_.read_body(); }
  const http::Headers& request_trailers() const override { return inner_.request_trailers(); }
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override { return inner_.write_body(piece); }
  Result<void> write_now(const exchange::BodyPiece& piece) override { return inner_.write_now(piece); }
  Result<void> end(const http::Headers& trailers) override { return inner_.end(trailers); }
  net::Task<Result<void>> flush() override { return inner_.flush(); }
  void reset(http::ResetCode code) override { inner_.reset(code); }
  void cut(http::ResetCode code) override { inner_.cut(code); }
  void reset_connection() override { inner_.reset_connection(); }
  void become_tunnel() override { inner_.become_tunnel(); }
  bool response_started() const override { return inner_.response_started(); }
  const exchange::TlsFacts& tls() const override { return inner_.tls(); }
  exchange::Facts& facts() override { return inner_.facts(); }

 private:
  [[nodiscard]] static http::ResponseHead without_hop_by_hop(const http::ResponseHead& head) {
    http::ResponseHead out = head;
    strip_hop_by_hop(out.headers);
    return out;
  }
  exchange::Exchange& inner_;
  http::RequestHead head_;
  exchange::CapturedFlow flow_;
};

}  // namespace tapdeck::proxy

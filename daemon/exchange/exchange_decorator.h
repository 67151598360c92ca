// ExchangeDecorator: an Exchange seen through another: everything passes on, and who derives from it says what does
// not.
//
// Not itself of use. Exchange has no default for any operation, so that one that is new must be passed on here to
// compile, and no decorator can forget it. Owner: the coroutine that wraps. Thread: the worker's.
#pragma once

#include "daemon/exchange/exchange.h"

namespace tapdeck::exchange {

class ExchangeDecorator : public Exchange {
 public:
  const http::RequestHead& request() const override { return inner_.request(); }
  bool request_is_bodyless() const override { return inner_.request_is_bodyless(); }
  net::Task<Result<BodyPiece>> read_body() override { return inner_.read_body(); }
  const http::Headers& request_trailers() const override { return inner_.request_trailers(); }
  Result<void> inform(const http::ResponseHead& head) override { return inner_.inform(head); }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override {
    return inner_.respond(head, end);
  }
  net::Task<Result<void>> write_body(const BodyPiece& piece) override { return inner_.write_body(piece); }
  Result<void> write_now(const BodyPiece& piece) override { return inner_.write_now(piece); }
  Result<void> end(const http::Headers& trailers) override { return inner_.end(trailers); }
  net::Task<Result<void>> flush() override { return inner_.flush(); }
  Result<bool> try_flush() override { return inner_.try_flush(); }
  net::Task<Result<void>> deliver() override { return inner_.deliver(); }
  void reset(http::ResetCode code) override { inner_.reset(code); }
  void cut(http::ResetCode code) override { inner_.cut(code); }
  void reset_connection() override { inner_.reset_connection(); }
  void become_tunnel() override { inner_.become_tunnel(); }
  bool response_started() const override { return inner_.response_started(); }
  size_t writable_now() const override { return inner_.writable_now(); }
  const CapturedFlow& flow() const override { return inner_.flow(); }
  const TlsFacts& tls() const override { return inner_.tls(); }
  Facts& facts() override { return inner_.facts(); }

 protected:
  explicit ExchangeDecorator(Exchange& inner) : inner_(inner) {}
  Exchange& inner_;
};

}  // namespace tapdeck::exchange

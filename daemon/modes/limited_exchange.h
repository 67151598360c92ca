// LimitedExchange: an Exchange whose bodies may not be longer than limits.max_body (body_oversize = "error"). What is
// too long fails with TooLarge (EMSGSIZE): a request is answered 413, and where its length is announced the origin
// never hears of it; a response is answered 502, or broken off when it has begun.
//
// Owner: the mode's coroutine. Thread: the worker's.
#pragma once

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

class LimitedExchange final : public exchange::Exchange {
 public:
  // Responses that do not come from an origin (replay, our own JSON) are as long as they are.
  enum class Responses { Limited, Any };
  LimitedExchange(exchange::Exchange& inner, uint64_t max_body, Responses responses = Responses::Limited)
      : inner_(inner), request_limit_(max_body), response_limit_(responses == Responses::Any ? UINT64_MAX : max_body) {}

  // The request announces a body that is too long.
  [[nodiscard]] Result<void> check_request() const;

  const http::RequestHead& request() const override { return inner_.request(); }
  bool request_is_bodyless() const override { return inner_.request_is_bodyless(); }
  net::Task<Result<exchange::BodyPiece>> read_body() override;
  const http::Headers& request_trailers() const override { return inner_.request_trailers(); }
  Result<void> inform(const http::ResponseHead& head) override { return inner_.inform(head); }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override;
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override;
  Result<void> write_now(const exchange::BodyPiece& piece) override;
  Result<void> end(const http::Headers& trailers) override { return inner_.end(trailers); }
  net::Task<Result<void>> flush() override { return inner_.flush(); }
  void reset(http::ResetCode code) override { inner_.reset(code); }
  void cut(http::ResetCode code) override { inner_.cut(code); }
  void reset_connection() override { inner_.reset_connection(); }
  void become_tunnel() override;
  bool response_started() const override { return inner_.response_started(); }
  size_t writable_now() const override { return inner_.writable_now(); }
  const exchange::CapturedFlow& flow() const override { return inner_.flow(); }
  const exchange::TlsFacts& tls() const override { return inner_.tls(); }
  exchange::Facts& facts() override { return inner_.facts(); }

 private:
  exchange::Exchange& inner_;
  uint64_t request_limit_;
  uint64_t response_limit_;
  uint64_t request_bytes_ = 0;
  uint64_t response_bytes_ = 0;
};

// The length a message announces; nullopt: none, or not a number.
[[nodiscard]] std::optional<uint64_t> content_length_of(const http::Headers& headers);

}  // namespace tapdeck::modes

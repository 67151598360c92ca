// LimitedExchange: an Exchange whose bodies may not be longer than limits.max_body (body_oversize = "error"). What is
// too long fails with exchange::body_limit(): a request is answered 413, and where its length is announced the origin
// never hears of it; a response is answered 502, or broken off when it has begun. Responses that do not come from an
// origin (Facts::is_own_answer: from the tape, our own JSON) are as long as they are.
//
// What is recorded is measured before it is kept: requests below the RecordingExchange, responses above it.
//
// Owner: the mode's coroutine. Thread: the worker's.
#pragma once

#include "daemon/exchange/exchange_decorator.h"

namespace tapdeck::modes {

class LimitedExchange final : public exchange::ExchangeDecorator {
 public:
  // In bytes of a body.
  struct Limits {
    uint64_t request = UINT64_MAX;
    uint64_t response = UINT64_MAX;
  };
  LimitedExchange(exchange::Exchange& inner, const Limits& limits)
      : ExchangeDecorator(inner), request_limit_(limits.request), response_limit_(limits.response) {}
  LimitedExchange(exchange::Exchange& inner, uint64_t max_body)
      : LimitedExchange(inner, {.request = max_body, .response = max_body}) {}

  // The request announces a body that is too long.
  [[nodiscard]] Result<void> check_request() const;

  net::Task<Result<exchange::BodyPiece>> read_body() override;
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override;
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override;
  Result<void> write_now(const exchange::BodyPiece& piece) override;
  void become_tunnel() override;

 private:
  uint64_t request_limit_;
  uint64_t response_limit_;
  uint64_t request_bytes_ = 0;
  uint64_t response_bytes_ = 0;
};

// The length a message announces; nullopt: none, or not a number.
[[nodiscard]] std::optional<uint64_t> content_length_of(const http::Headers& headers);

}  // namespace tapdeck::modes

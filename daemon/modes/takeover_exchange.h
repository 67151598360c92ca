// TakeoverExchange: an Exchange whose answer another recording may take over in the middle: what the client has already
// is not sent again.
//
// Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include "daemon/exchange/exchange_decorator.h"
#include "daemon/modes/turns.h"

namespace tapdeck::modes {

class TakeoverExchange final : public exchange::ExchangeDecorator {
 public:
  // `hasher` must outlive it.
  TakeoverExchange(exchange::Exchange& inner, const store::KeyHasher& hasher)
      : ExchangeDecorator(inner), hasher_(hasher), sha_(hasher.begin()) {}

  // What the client was sent.
  [[nodiscard]] Sent sent() const;
  // From here on comes another response, from its begin, that begins with sent().
  void begin_again() { behind_ = bytes_; }

  Result<void> inform(const http::ResponseHead& head) override;
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override;
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override;
  Result<void> write_now(const exchange::BodyPiece& piece) override;

 private:
  // What of it the client does not have; false: nothing.
  bool trim(const exchange::BodyPiece& piece);

  const store::KeyHasher& hasher_;
  store::Sha256 sha_;
  int status_ = 0;
  std::string length_, coding_;
  uint64_t bytes_ = 0;
  uint64_t behind_ = 0;         // bytes that come again
  exchange::BodyPiece passed_;  // what inner_.write_body() is writing
};

}  // namespace tapdeck::modes

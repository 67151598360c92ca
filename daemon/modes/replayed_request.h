// ReplayedRequest: an Exchange whose request body was already read into memory; it is given out again from there.
// Hybrid mode needs the whole body for the key before it knows whether to forward it.
//
// Owner: the hybrid coroutine. Thread: the worker's.
#pragma once

#include <deque>
#include <string>

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

// The client waits for "100 Continue" with its body (RFC 9110 10.1.1; never HTTP/1.0).
[[nodiscard]] bool awaits_invitation(const exchange::Exchange& exchange);
// Who waits for "100 Continue" with the body gets it from us: the key needs the body before anybody is asked.
net::Task<Result<void>> invite_body(exchange::Exchange& exchange);

class ReplayedRequest final : public exchange::Exchange {
 public:
  explicit ReplayedRequest(exchange::Exchange& inner) : inner_(inner) {}

  // Reads the whole body, or up to `limit` bytes; false when it is longer (the rest streams on later).
  // `each` sees every piece as it comes.
  template <class Each>
  net::Task<Result<bool>> buffer(size_t limit, Each each);

  // The next piece, which is also kept: read_body() gives it out again.
  net::Task<Result<exchange::BodyPiece>> read_ahead();
  // Gives up what is kept; read_body() goes on behind it.
  void forget() { stored_.clear(); }

  const http::RequestHead& request() const override { return inner_.request(); }
  bool request_is_bodyless() const override { return inner_.request_is_bodyless(); }
  net::Task<Result<exchange::BodyPiece>> read_body() override;
  const http::Headers& request_trailers() const override { return inner_.request_trailers(); }
  Result<void> inform(const http::ResponseHead& head) override {
    return invited_ && head.status == 100 ? Result<void>{} : inner_.inform(head);
  }
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override {
    return inner_.respond(head, end);
  }
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override { return inner_.write_body(piece); }
  Result<void> write_now(const exchange::BodyPiece& piece) override { return inner_.write_now(piece); }
  Result<void> end(const http::Headers& trailers) override { return inner_.end(trailers); }
  net::Task<Result<void>> flush() override { return inner_.flush(); }
  Result<bool> try_flush() override { return inner_.try_flush(); }
  void reset(http::ResetCode code) override { inner_.reset(code); }
  void cut(http::ResetCode code) override { inner_.cut(code); }
  void reset_connection() override { inner_.reset_connection(); }
  void become_tunnel() override { inner_.become_tunnel(); }
  bool response_started() const override { return inner_.response_started(); }
  size_t writable_now() const override { return inner_.writable_now(); }
  const exchange::CapturedFlow& flow() const override { return inner_.flow(); }
  const exchange::TlsFacts& tls() const override { return inner_.tls(); }
  exchange::Facts& facts() override { return inner_.facts(); }

 private:
  struct Stored {
    std::string bytes;
    std::optional<uint64_t> chunk_size;
    std::string extension;
  };
  exchange::Exchange& inner_;
  std::deque<Stored> stored_;
  Stored current_;
  bool ended_ = false;
  bool invited_ = false;  // a 100 of the origin would be the second
};

template <class Each>
net::Task<Result<bool>> ReplayedRequest::buffer(size_t limit, Each each) {
  size_t size = 0;
  invited_ = true;
  CO_TRY_VOID(co_await invite_body(inner_));
  while (!ended_ && size <= limit) {
    CO_TRY(piece, co_await read_ahead());
    each(piece.bytes);
    size += piece.bytes.size();
  }
  co_return ended_;
}

}  // namespace tapdeck::modes

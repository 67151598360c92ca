// ReplayedRequest: an Exchange whose request body was already read into memory; it is given out again from there.
// Hybrid mode needs the whole body for the key before it knows whether to forward it.
//
// Owner: the hybrid coroutine. Thread: the worker's.
#pragma once

#include <deque>
#include <string>

#include "daemon/exchange/exchange_decorator.h"

namespace tapdeck::modes {

// The client waits with its body for a "100 Continue" that it has not been sent (RFC 9110 10.1.1; never HTTP/1.0).
[[nodiscard]] bool awaits_invitation(exchange::Exchange& exchange);
// Who waits for "100 Continue" with the body gets it from us: the key needs the body before anybody is asked.
net::Task<Result<void>> invite_body(exchange::Exchange& exchange);

class ReplayedRequest final : public exchange::ExchangeDecorator {
 public:
  explicit ReplayedRequest(exchange::Exchange& inner) : ExchangeDecorator(inner) {}

  // Reads the whole body, or until it takes more than `limit` bytes to keep it, of which each chunk takes some beside
  // its own; false when it is longer (the rest streams on later). `each` sees every piece as it comes. May be cancelled
  // and called again: it goes on.
  template <class Each>
  net::Task<Result<bool>> buffer(size_t limit, Each each);

  // The next piece, which is also kept: read_body() gives it out again, together with others of its chunk.
  net::Task<Result<exchange::BodyPiece>> read_ahead();
  // Gives up what is kept; read_body() goes on behind it.
  void forget() { stored_.clear(); }
  // All of it was read.
  [[nodiscard]] bool has_ended() const { return ended_; }
  // See invite_body(); once.
  net::Task<Result<void>> invite();

  net::Task<Result<exchange::BodyPiece>> read_body() override;
  Result<void> inform(const http::ResponseHead& head) override {
    return invited_ && head.status == 100 ? Result<void>{} : inner_.inform(head);
  }
  // What the client sends from here on is no part of the body that was read.
  void become_tunnel() override {
    stored_.clear();
    ended_ = false;
    inner_.become_tunnel();
  }

 private:
  struct Stored {
    std::string bytes;
    std::optional<uint64_t> chunk_size;
    std::string extension;
  };
  void keep(const exchange::BodyPiece& piece);
  std::deque<Stored> stored_;
  size_t taken_ = 0;  // memory for what read_ahead() gave
  Stored current_;
  bool ended_ = false;
  bool invited_ = false;  // a 100 of the origin would be the second
};

template <class Each>
net::Task<Result<bool>> ReplayedRequest::buffer(size_t limit, Each each) {
  CO_TRY_VOID(co_await invite());
  while (!ended_ && taken_ <= limit) {
    CO_TRY(piece, co_await read_ahead());
    each(piece.bytes);
  }
  co_return ended_;
}

}  // namespace tapdeck::modes

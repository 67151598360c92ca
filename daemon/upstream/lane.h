// Lane: one exchange's place on a connection to an origin. In h1 that is the whole connection, in h2 one stream of a
// shared one; who forwards cannot tell.
//
// Use: send_request, flush, then try_next()/next() until MessageComplete; the request body may be sent meanwhile.
// Owner: the handler of one exchange, until Pool::give_back. Thread: its worker's.
#pragma once

#include <optional>
#include <string_view>

#include "daemon/exchange/exchange.h"
#include "daemon/http/codec.h"
#include "daemon/upstream/channel.h"

namespace tapdeck::upstream {

class Connection;

// A client connection while it lives (Pool::Client); 0: nobody in particular.
using ClientId = uint64_t;

class Lane {
 public:
  Lane() = default;
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  virtual ~Lane() = default;

  // What the origin takes is known. An extended CONNECT must wait for that (RFC 8441 3): settle().
  [[nodiscard]] virtual bool is_settled() const { return true; }
  virtual net::Task<Result<void>> settle() { co_return Result<void>{}; }

  // ---- request
  virtual Result<void> send_request(const http::RequestHead& head, http::EndStream end) = 0;
  // Queues the piece and sends it; waits while the origin takes no more.
  virtual net::Task<Result<void>> send_body(exchange::BodyPiece piece) = 0;
  virtual Result<void> send_end(const http::Headers& trailers) = 0;
  virtual net::Task<Result<void>> flush() = 0;
  // The same as far as it goes without waiting. False: something may be left, call flush().
  virtual Result<bool> try_flush() { return false; }

  // ---- response
  // The next event that is already here; nullopt: none. Views stay valid until the next call of either.
  virtual Result<std::optional<http::Event>> try_next() = 0;
  // The next event; nullopt: the origin ended the connection between messages. Waits at most the idle timeout for each
  // arrival. Errors have origin Upstream: Timeout, Reset, Truncated, Protocol, TooLarge; Retry::Yes: the origin says
  // that it has not begun to work on the request.
  virtual net::Task<Result<std::optional<http::Event>>> next() = 0;
  [[nodiscard]] virtual http::ResponseHead& response_head() = 0;
  [[nodiscard]] virtual http::Headers& trailers() = 0;
  // Body bytes of the last event that are done with: the origin may send more.
  virtual void consumed(size_t n) = 0;

  // ---- a tunnel, after a 101 or a 2xx to CONNECT
  // Raw bytes from the origin; `end`: it has ended its direction. Waits without limit: the caller has an idle timer.
  virtual net::Task<Result<exchange::BodyPiece>> read_tunnel() = 0;
  // Writes it, unless there is `more` to write with it: then the next call does.
  virtual net::Task<Result<void>> write_tunnel(exchange::BodyPiece piece) = 0;
  virtual void end_tunnel() = 0;

  // Breaks the exchange off, so that the origin never takes a part for the whole. Pending waits end with an error.
  // NoError: both directions have ended, and all that was written still arrives.
  virtual void abandon(http::ResetCode code) = 0;
  // An identity belongs to this connection (bound_auth.h): from now on it serves no client but this one. A shared one
  // that has served others already takes no further exchanges instead.
  virtual void bind() = 0;
  // Whatever came since the request went out may be a part of its answer. The whole connection counts: an origin that
  // still speaks on it has not ended an idle one.
  [[nodiscard]] virtual bool has_heard() const = 0;
  // The connection this lane is all of, for the pool; nullptr: shared.
  [[nodiscard]] virtual Connection* whole() { return nullptr; }

  // With what code the origin broke the stream off, if it did.
  [[nodiscard]] virtual std::optional<http::ResetCode> reset_code() const { return std::nullopt; }
  [[nodiscard]] virtual const Channel& channel() const = 0;
  [[nodiscard]] virtual std::chrono::milliseconds idle_timeout() const = 0;
  bool reused = false;     // its connection served before, or was made for another client
  bool was_bound = false;  // its connection was this client's alone before this exchange
  ClientId client = 0;     // for whom it was acquired
};

}  // namespace tapdeck::upstream

// Exchange: one request and its response, streaming both ways, and the facts about it. Version-free: h1 and h2 sessions
// implement it, Handlers use it, decorators (exchange_decorator.h) wrap it.
//
// Not a message store: body pieces pass through and are gone. Owner: the downstream session; a Handler holds a
// reference until serve() returns. Thread: the session's worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/exchange/flow.h"
#include "daemon/http/codec.h"
#include "daemon/http/message.h"
#include "daemon/net/task.h"

namespace tapdeck::exchange {

using Clock = std::chrono::steady_clock;

// What the TLS side of the connection is, for the key, the recording and the log. Empty sni and version: clear text.
struct TlsFacts {
  std::string sni;
  std::string client_offer;    // what the client offered by ALPN and we speak, in its order
  std::string alpn;            // agreed with the client, empty: none
  std::string upstream_offer;  // protocols to offer the origin, see upstream::Key::alpn; empty: none
  std::string version;         // "TLSv1.3"
  std::string upstream_version;
  std::string upstream_alpn;
  std::string upstream_certificate;  // SHA-256, 32 bytes, or empty
  std::string upstream_verify;       // "ok", "no_san", "wrong_name+expired", ... or empty when nothing was dialled
};

// What a handshake with the origin showed.
struct UpstreamTls {
  std::string version, alpn;
  std::string certificate;  // as TlsFacts::upstream_certificate
  std::string verify;       // as TlsFacts::upstream_verify
};

struct BodyBytes {
  uint64_t up = 0;
  uint64_t down = 0;
};

// Everything the one log line, the metrics and the recording say about an exchange. Handlers fill in what they know.
struct Facts {
  Mode mode = Mode::Record;
  Outcome outcome = Outcome::Failed;
  int status = 0;     // sent to the client; 0: none
  std::string error;  // stable name ("upstream_connect"), empty when all went well
  std::string error_detail;
  std::string not_matched;  // why the tape was not asked, which might have answered; empty: nothing kept it from that
  uint64_t request_bytes = 0;                  // body bytes from the client
  uint64_t response_bytes = 0;                 // body bytes to the client
  std::optional<BodyBytes> before_tunnel;      // of these, where the rest is counted as a tunnel's
  uint64_t recording = 0;                      // id stored or replayed; 0: none
  std::optional<std::string> upstream_offer;   // a route's word on TlsFacts::upstream_offer
  std::shared_ptr<const UpstreamRoute> route;  // where it goes, when its own head says so; null: where its flow does
  bool upstream_reused = false;
  std::optional<UpstreamTls> upstream_tls_facts;  // of the connection it went out over, in TLS
  std::optional<uint32_t> reset_code;             // h2: with which the origin broke its stream off
  bool is_own_answer = false;   // the response is made by us: no limit on origins' bodies holds for it
  bool client_invited = false;  // was passed a 100 Continue
  bool client_left = false;     // broke the exchange, or its connection, off
  bool client_ended = false;    // h1: its side has ended; it may wait for the rest, or be gone
  bool passes_raw = false;      // its bytes go to an origin and back unrecorded, since a CONNECT or an upgrade
  bool may_not_pass = false;    // they may not begin to: its target is replayed by now
  bool route_decides = false;   // the mode is its route's, whatever becomes of its target's
  bool only_waits = false;      // all is said; the client is expected to leave
  bool is_nested = false;       // a CONNECT that became a connection of our own, which counts what happens in it
  Clock::time_point began{};
  int64_t began_unix_us = 0;
  std::optional<Clock::duration> upstream_connect, upstream_tls, upstream_first_byte;
  // From the connection being there, or all of the request being sent where that was later, to the answer's first byte.
  std::optional<Clock::duration> upstream_wait;
  std::optional<Clock::duration> upstream_head;  // the final one, behind interim responses
};

// A piece of a body. `bytes` is valid until the next read of the same body. `end`: nothing follows but trailers.
struct BodyPiece {
  std::string_view bytes;
  std::optional<http::ChunkStart> chunk;
  bool end = false;
  bool more = false;  // of a tunnel: another piece is here already, so that this one need not be flushed alone
};

class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;

  // ---- request
  [[nodiscard]] virtual const http::RequestHead& request() const = 0;
  // The request ended with its head.
  [[nodiscard]] virtual bool request_is_bodyless() const = 0;
  // The next piece; after one with `end` it must not be called again. Error Reset, Truncated, Protocol or TooLarge
  // (origin Downstream) when the client's message cannot become whole. Bytes count as consumed at the next read.
  virtual net::Task<Result<BodyPiece>> read_body() = 0;
  // Complete after the piece with `end`.
  [[nodiscard]] virtual const http::Headers& request_trailers() const = 0;

  // ---- response; each returns an error when the client is gone
  virtual Result<void> inform(const http::ResponseHead& head) = 0;
  virtual Result<void> respond(const http::ResponseHead& head, http::EndStream end) = 0;
  // Queues bytes; flush() or write_body's own back-pressure sends them. Awaits while too much is unsent.
  virtual net::Task<Result<void>> write_body(const BodyPiece& piece) = 0;
  // The same without back-pressure, for pieces the caller knows to be short (a hot replay): never waits.
  virtual Result<void> write_now(const BodyPiece& piece) = 0;
  // Ends the response. Nothing may be written afterwards.
  virtual Result<void> end(const http::Headers& trailers) = 0;
  // Sends what is queued now instead of at the end of the loop turn.
  virtual net::Task<Result<void>> flush() = 0;
  // The same as far as it goes without waiting, and without a coroutine. False: something may be left, call flush().
  virtual Result<bool> try_flush() = 0;
  // Flushes, and returns when a reset() would cost the client nothing of what was written: h1: its kernel has all of
  // it; h2: nothing of the stream waits for its windows. Error Timeout when it took nothing for idle_timeout.
  virtual net::Task<Result<void>> deliver() = 0;
  // Breaks the response off so that the client cannot take it for whole (h1: RST; h2: RST_STREAM).
  virtual void reset(http::ResetCode code) = 0;
  // The same by an orderly end where the framing tells that something is missing (h1 with a length or chunks), as of an
  // origin that closed in the middle; flush() before. Else as reset().
  virtual void cut(http::ResetCode code) = 0;
  // Breaks the client's whole connection off by a RST, whatever else it carries.
  virtual void reset_connection() = 0;
  // After a 101 or 2xx to CONNECT was sent with EndStream::No: the connection's raw bytes, both ways. read_body()
  // then yields raw bytes, write_body() writes raw bytes, `end` is a half-close.
  virtual void become_tunnel() = 0;

  [[nodiscard]] virtual bool response_started() const = 0;
  // Body bytes that write_now() would take; h2 bounds what one stream may queue. SIZE_MAX: any number.
  [[nodiscard]] virtual size_t writable_now() const = 0;

  // ---- facts
  [[nodiscard]] virtual const CapturedFlow& flow() const = 0;
  [[nodiscard]] virtual const TlsFacts& tls() const = 0;
  [[nodiscard]] virtual Facts& facts() = 0;
};

// The head of a response made by us.
[[nodiscard]] http::ResponseHead json_head(int status, size_t body_bytes);
// A response made by us: head, Content-Length and body in one go. Content-Type application/json.
net::Task<Result<void>> respond_json(Exchange& exchange, int status, std::string body);

}  // namespace tapdeck::exchange

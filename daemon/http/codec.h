// Codec: bytes <-> HTTP events, one per connection and side. Sans-IO: no socket, clock, thread, or configuration.
//
// h1 (llhttp behind a strict guard) and h2 (nghttp2 behind a frame guard) implement it; the shape is h2's: every event
// has a stream id, end of stream is apart from data, resets carry a code, received body bytes count against the peer
// until consumed(). h1 uses stream ids 1, 3, 5 ... in order and has at most one stream open for output at a time.
//
// Heads of any version may be sent through any codec; it translates (translate.h says how).
//
// Use: append what came to input(), take events by next() until it gives none, write output() to the transport.
// Owner: one downstream session or upstream connection. Thread: its Worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/base/byte_queue.h"
#include "daemon/base/result.h"
#include "daemon/http/message.h"

namespace tapdeck::http {

using StreamId = uint32_t;

// Server: parses requests, writes responses. Client: the other way round.
enum class Role { Server, Client };
enum class EndStream { No, Yes };

// Error codes of RFC 9113 section 7, also used for h1 (where any reset closes the connection). Values without a name
// pass through as they came.
enum class ResetCode : uint32_t {
  NoError = 0,
  ProtocolError = 1,
  InternalError = 2,
  FlowControlError = 3,
  SettingsTimeout = 4,
  StreamClosed = 5,
  FrameSizeError = 6,
  RefusedStream = 7,  // not processed: safe to send again (RFC 9113 8.7)
  Cancel = 8,
  CompressionError = 9,
  ConnectError = 10,
  EnhanceYourCalm = 11,
  InadequateSecurity = 12,
  Http11Required = 13,
};

struct Limits {
  size_t head_bytes = 65536;  // request or status line plus all header bytes, and separately all trailer bytes
  size_t headers = 256;       // fields in a head, and in the trailers
};

// The TooLarge errors: more than Limits::head_bytes, or Limits::headers fields. h1 ends with them; h2 answers the
// stream, tells H2Options::on_too_large, and goes on.
[[nodiscard]] Error head_limit(Origin origin);
[[nodiscard]] Error field_limit(Origin origin);
[[nodiscard]] bool is_field_limit(const Error& error);

// Where an h1 origin began a chunk; replay and forwarding write the same chunk sizes and extensions again.
struct ChunkStart {
  uint64_t size = 0;           // 0: the last one, given only where it has an extension
  std::string_view extension;  // with its leading ';', valid as long as the event
};

// A request head (Role::Server) or final response head (Role::Client). Views of it are valid until next().
struct HeadReceived {
  StreamId stream;
  EndStream end;
};
// A 1xx response (Role::Client) other than 101. Followed by more heads.
struct InformationalReceived {
  StreamId stream;
};
// Body bytes. `bytes` stays valid until the next call of next(). Not flow-control consumed yet.
// A chunk start without bytes yet has empty `bytes`.
struct BodyReceived {
  StreamId stream;
  std::string_view bytes;
  std::optional<ChunkStart> chunk;  // set on the first piece of each h1 chunk
};
// Trailer fields, before MessageComplete. Read them from trailers().
struct TrailersReceived {
  StreamId stream;
};
// The peer's message is whole. Always sent exactly once a stream unless it was reset or truncated.
struct MessageComplete {
  StreamId stream;
};
// h1, after a 101, or a CONNECT answered 2xx: everything that follows is not HTTP. Unparsed input stays in input().
// In h2 only that stream turns into a pipe: its bytes go on as BodyReceived and send_body, no event says so.
struct Upgraded {
  StreamId stream;
};
struct StreamReset {
  StreamId stream;
  ResetCode code;
  // Server: the client has ended its request short of its Content-Length after the answer had begun (it stops an upload
  // that is refused). There is no more of the request; the answer goes on.
  bool request_only = false;
  // It was not the peer: what it sent is malformed, or (EnhanceYourCalm) over our limits.
  bool ours = false;
};
// The peer takes no more streams than `last_stream` (GOAWAY; h1: Connection: close was seen).
struct GoingAway {
  StreamId last_stream;
  ResetCode code = ResetCode::NoError;
};
using Event = std::variant<HeadReceived, InformationalReceived, BodyReceived, TrailersReceived, MessageComplete,
                           Upgraded, StreamReset, GoingAway>;

class Codec {
 public:
  Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;
  virtual ~Codec() = default;

  // ---- receiving
  // Undecoded bytes: the transport appends here (TLS writes plaintext straight into it).
  [[nodiscard]] virtual ByteQueue& input() = 0;
  // The next event out of input(); nullopt = needs more bytes. An Error (Protocol, TooLarge, Unsupported) is final:
  // no later call succeeds. Origin is Downstream for Role::Server and Upstream for Role::Client.
  virtual Result<std::optional<Event>> next() = 0;
  // Role::Server: that Error left open where a request ends, so that another parser might find a second one in it.
  // Never in h2, whose frames say that.
  [[nodiscard]] virtual bool ended_ambiguously() const { return false; }
  // The transport saw end of stream. Ok when that may end here: between messages, or completes a close-delimited body
  // (then next() yields MessageComplete). Error Truncated otherwise.
  virtual Result<void> end_of_input() = 0;
  // Heads and trailers of the event just returned by next(); valid until the next call of next().
  [[nodiscard]] virtual RequestHead& request_head() = 0;    // Role::Server
  [[nodiscard]] virtual ResponseHead& response_head() = 0;  // Role::Client, also informational
  [[nodiscard]] virtual Headers& trailers() = 0;
  // The application is done with n received body bytes: windows may open again.
  virtual void consumed(StreamId stream, size_t n) = 0;

  // ---- sending
  // Encoded bytes for the transport to write and consume. h2 frames more of what it holds at each call: write until a
  // call finds it empty.
  [[nodiscard]] virtual ByteQueue& output() = 0;
  // Role::Client: opens a stream and returns its id. Error Exhausted when no more streams fit on this connection.
  virtual Result<StreamId> send_request(const RequestHead& head, EndStream end) = 0;
  // Role::Server. Framing follows the head's own Content-Length / Transfer-Encoding; a head with neither and a body
  // to come ends with the connection, as the origin's did: a head goes out as it came in. HEAD, 204 and 304 send no
  // body.
  virtual Result<void> send_response(StreamId stream, const ResponseHead& head, EndStream end) = 0;
  virtual Result<void> send_informational(StreamId stream, const ResponseHead& head) = 0;
  // Body bytes; accepts all (h1) or as much as flow control allows and returns how much (h2; what is short becomes
  // acceptable only by bytes from the peer, so try again after next() has run). `chunk` asks for an h1
  // chunk boundary of that size here (its bytes may follow in later calls); without one each call is its own chunk. One
  // of size 0 says what extension the last chunk gets, which goes out with send_end().
  virtual Result<size_t> send_body(StreamId stream, std::string_view bytes,
                                   const std::optional<ChunkStart>& chunk = std::nullopt) = 0;
  // Ends the message, with trailers or without (empty). Error Internal if a promised Content-Length was not met.
  virtual Result<void> send_end(StreamId stream, const Headers& trailers) = 0;
  // Gives the stream up. h1: the connection must be closed without pretending the message was whole.
  virtual void reset(StreamId stream, ResetCode code) = 0;

  // Body bytes that send_body() would take now; h1 takes all. h2 keeps a bounded queue a stream, which empties into
  // output() as the peer's windows allow: writers ask again after output() was written or input() was read.
  [[nodiscard]] virtual size_t send_capacity(StreamId /*stream*/) const { return SIZE_MAX; }

  // Of what was given to that stream something is not in output() yet, since the peer's windows are closed or output()
  // is full. Never in h1.
  [[nodiscard]] virtual bool has_unsent(StreamId /*stream*/) const { return false; }
  // The same of all streams: bytes of body, and one for each end of a message.
  [[nodiscard]] virtual size_t unsent() const { return 0; }

  // ---- connection
  // Several streams may be open side by side (h2). Then a tunnel is a stream as well: its bytes are Body events.
  [[nodiscard]] virtual bool is_multiplexed() const { return false; }
  // Role::Server: what is still to come of the request whose head was given last may prove malformed (chunked coding).
  [[nodiscard]] virtual bool has_body_to_judge() const { return false; }
  // Role::Client: requests that send_request() would take now.
  [[nodiscard]] virtual size_t streams_left() const { return is_idle() && !must_close() ? 1 : 0; }
  // No more exchanges may begin: Connection: close was sent or received, HTTP/1.0, an error, close-delimited, GOAWAY.
  [[nodiscard]] virtual bool must_close() const = 0;
  // Asks the codec to end the connection after the open exchanges (h1: Connection: close on the next head; h2: GOAWAY).
  // A second call says that the end is now (h2: which streams were taken).
  virtual void start_drain() = 0;
  // True between exchanges, with nothing half-parsed (pool and idle-timeout decisions).
  [[nodiscard]] virtual bool is_idle() const = 0;
  // Role::Client: what the peer takes is known (h2: its settings have come).
  [[nodiscard]] virtual bool knows_peer() const { return true; }
  // Role::Client: the peer takes extended CONNECT (RFC 8441). False until its settings have come; never in h1.
  [[nodiscard]] virtual bool takes_extended_connect() const { return false; }
};

}  // namespace tapdeck::http

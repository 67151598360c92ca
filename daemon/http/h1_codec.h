// H1Codec: HTTP/1.0 and 1.1 behind the Codec interface. Bytes are read by two parsers that must agree: the strict guard
// (h1_guard.h), which yields heads and framing, and llhttp (h1_witness.h). What is sent goes through h1_writer.h.
//
// What codec.h leaves open, decided here:
// - A message without body gives HeadReceived{EndStream::Yes} and then MessageComplete, like every other.
// - Server: the next request is not looked at until the response before it has ended. A response that ends while its
//   request is still being received makes must_close() true until that request is complete (for good when the client
//   was waiting for 100-continue, as it may or may not send the body).
// - Client: 101 (accepted only if the request asked for what it switches to) and 2xx to CONNECT arrive as
//   HeadReceived, MessageComplete, Upgraded. Server: Upgraded comes after the request's MessageComplete once 101, or
//   2xx to CONNECT, has been sent. A refused CONNECT closes the connection (CVE-2025-64763 class), unless by a 407 that
//   nothing has followed yet.
// - Client: GoingAway follows the head of a response after which the origin closes. Bytes that answer no request are an
//   Error (response queue poisoning). Truncated before any byte of a response has Retry::OnlyIfReused.
// - An absolute-form target fills scheme and authority; a different Host is replaced (RFC 9112 3.2.2).
// - send_response: a head without framing and EndStream::Yes gets "Content-Length: 0", with a body to come it ends
//   with the connection; to an HTTP/1.0 client Transfer-Encoding is left out and the body ends with the connection.
//   Body bytes for HEAD, 204 and 304 are accepted and dropped. Trailers without a chunked body are dropped. 1xx is not
//   sent to HTTP/1.0 clients.
// - send_request: a head without Host but with an authority gets a Host line in front.
// - Heads of HTTP/2 are translated (translate.h): a body without length is chunked, an extended CONNECT for WebSocket
//   is GET with Upgrade, the 2xx that accepts a WebSocket and has its Sec-WebSocket-Accept is 101.
// - must_close() forbids new exchanges; what is open may still end. After an Error, next() repeats it. A server may
//   then still send one response, on the open stream or, if none is, on any id but 0: the 400 or 501 that explains the
//   close.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/codec.h"
#include "daemon/http/h1_guard.h"
#include "daemon/http/h1_witness.h"
#include "daemon/http/h1_writer.h"

namespace tapdeck::http {

// `scheme` ("http" or "https") is what origin-form requests get in Role::Server.
[[nodiscard]] std::unique_ptr<Codec> make_h1_codec(Role role, Limits limits = {}, std::string_view scheme = "http");

class H1Codec final : public Codec {
 public:
  H1Codec(Role role, Limits limits, std::string_view scheme);

  [[nodiscard]] ByteQueue& input() override { return in_; }
  Result<std::optional<Event>> next() override;
  Result<void> end_of_input() override;
  [[nodiscard]] RequestHead& request_head() override { return request_; }
  [[nodiscard]] ResponseHead& response_head() override { return response_; }
  [[nodiscard]] Headers& trailers() override { return trailers_; }
  void consumed(StreamId /*stream*/, size_t /*n*/) override {}

  [[nodiscard]] ByteQueue& output() override { return writer_.output(); }
  Result<StreamId> send_request(const RequestHead& head, EndStream end) override;
  Result<void> send_response(StreamId stream, const ResponseHead& head, EndStream end) override;
  Result<void> send_informational(StreamId stream, const ResponseHead& head) override;
  Result<size_t> send_body(StreamId stream, std::string_view bytes, const std::optional<ChunkStart>& chunk) override;
  Result<void> send_end(StreamId stream, const Headers& trailers) override;
  void reset(StreamId stream, ResetCode code) override;

  [[nodiscard]] bool has_body_to_judge() const override { return reading_ == Reading::ChunkLine; }
  [[nodiscard]] bool ended_ambiguously() const override { return role_ == Role::Server && guard_.is_ambiguous(); }
  [[nodiscard]] bool must_close() const override;
  void start_drain() override { draining_ = true; }
  [[nodiscard]] bool is_idle() const override;

 private:
  enum class Reading : uint8_t {
    StartLine,
    Fields,
    Fixed,
    ChunkLine,
    ChunkData,
    ChunkEnd,
    Trailers,
    UntilClose,
    Complete,  // MessageComplete is due
    Between,   // server: the response has not ended
    Tunnel,    // Upgraded was given
  };
  // What the codec has to remember of a request whose answer is awaited (client) or being made (server).
  struct Exchange {
    StreamId id = 0;
    bool head = false;
    bool connect = false;
    bool upgrade = false;
    std::string offer = {};  // client: of `upgrade`
    bool http10 = false;
    bool continue_awaited = false;
  };
  // What the server has sent of its answer.
  enum class Answer : uint8_t { None, Head, Ended };
  using Step = Result<std::optional<Event>>;  // nullopt: go on, or wait when stalled_

  // ---- reading (h1_codec.cc)
  Step step();
  Step read_start_line();
  Step read_fields();
  Step finish_request();
  Step finish_response();
  Step read_fixed(std::optional<ChunkStart> chunk_start = std::nullopt);
  Step read_chunk_line();
  Step read_chunk_end();
  Step read_trailer();
  Step read_until_close();
  Step complete();
  Step between();
  Step wait();
  Event take_body(uint64_t limit, std::optional<ChunkStart> chunk);
  Reading after_head() const;
  void release_body();
  void begin_message();
  Result<std::optional<std::string_view>> line(size_t limit);
  // One of a body, where no limit of heads is passed: too long is malformed.
  Result<std::optional<std::string_view>> framing_line(size_t limit, std::string_view too_long) {
    auto read = line(limit);
    if (read || read.error().code != Code::TooLarge) return read;
    return guard_.ambiguous(too_long);
  }
  Result<void> witness(std::string_view bytes);
  Result<void> witness_field(std::string_view line, const Headers& stored);
  Result<void> witness_line(std::string_view line) { return witness({line.data(), line.size() + 2}); }
  std::unexpected<Error> disagree(std::string_view what);
  [[nodiscard]] StreamId stream() const;
  [[nodiscard]] bool at_rest() const;
  Error truncated() const;

  // ---- sending (h1_codec_send.cc)
  Result<ResponseHead> translated(const ResponseHead& head, EndStream end) const;
  Result<H1Writer::Plan> plan_response(const ResponseHead& head, const H1Writer::Declared& declared,
                                       EndStream end) const;
  Result<void> check_stream(StreamId stream) const;
  [[nodiscard]] bool is_switch(const ResponseHead& head) const;

  const Role role_;
  const Origin origin_;
  const std::string_view scheme_;
  const size_t head_limit_;
  ByteQueue in_;
  H1LineReader lines_;
  H1Guard guard_;
  H1Witness witness_;
  H1Writer writer_;

  Reading reading_ = Reading::StartLine;
  bool stalled_ = false;    // the last step can go no further without bytes or a call
  size_t empty_lines_ = 0;  // in front of a request
  size_t body_given_ = 0;   // bytes at the head of in_ that the last BodyReceived shows
  uint64_t body_left_ = 0;  // of the Content-Length, or of the chunk
  bool going_away_due_ = false;
  bool upgrade_due_ = false;  // the message just read turns the connection into a tunnel
  RequestHead request_;
  ResponseHead response_;
  Headers trailers_;

  StreamId next_stream_ = 1;
  Exchange current_;                   // server
  Answer answer_ = Answer::None;       // server
  bool informed_ = false;              // server: a 1xx was sent for the current request
  std::vector<Exchange> outstanding_;  // client, oldest first
  StreamId sending_ = 0;               // client: the stream of the newest request

  std::optional<Error> failure_;
  bool eof_ = false;
  bool closing_ = false;
  bool draining_ = false;
  bool dead_ = false;
  bool explained_ = false;  // server: the response after a failure was sent
};

}  // namespace tapdeck::http

// H2Codec: HTTP/2 (RFC 9113, RFC 8441) behind the Codec interface. nghttp2 does frames, HPACK, flow control and HTTP
// messaging rules, in memory; H2Guard (h2_guard.h) sees every frame header before it. No server push, no priorities.
//
// What codec.h leaves open, decided here:
// - A malformed request or response (RFC 9113 8.1.1) is reset by the codec with PROTOCOL_ERROR; if it had been shown
//   before, StreamReset says so. A request head over the limits is answered with 431 here and never shown; one four
//   times over them, trailers and a response head are reset with ENHANCE_YOUR_CALM.
// - A connection error: next() returns an Error and output() holds what is left to say, ending with GOAWAY. Write
//   output(), then close. must_close() is true and every later call for a stream fails. Code Protocol, also
//   when a peer did too much of something (H2Abuse).
// - Body bytes are views into input(). consumed() gives window back for stream and connection; what comes on streams
//   that are gone gives it back by itself.
// - send_body takes what the peer's windows allow and at most kStreamQueue more (less with very many streams). Once the
//   peer has ended its side of the connection no window opens any more: then it fails with Closed instead of taking
//   nothing.
// - output() frames data only while it holds less than kOutputBytes; control frames always. See codec.h.
// - reset(NoError) after send_end waits until what was sent has gone out (RFC 9113 8.1: a server that needs no more of
//   the request). Other codes drop what is queued.
// - start_drain() says GOAWAY with the highest id and PING; when the PING comes back, or at the second call, another
//   GOAWAY names the last stream taken: what was sent above it is safe to repeat. must_close() is true from then on.
//   Call it a second time before closing early. Client: no further request, must_close() at once.
// - Client: GoingAway and then StreamReset{RefusedStream} for each of our streams above its last one: safe to repeat.
//   Exhausted from send_request: limit of streams reached, GOAWAY seen, or ids used up. Unsupported: a WebSocket or
//   other extended CONNECT and a peer that does not take it.
// - end_of_input() with open streams is Truncated: no more windows, and nothing of what is missing will come.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/codec.h"
#include "daemon/http/h2_guard.h"
#include "daemon/http/h2_heads.h"

namespace tapdeck::http {

struct H2Options {
  // At a time. Server: the peer's; one more is refused with REFUSED_STREAM. Client: ours, should the peer take more.
  uint32_t max_streams = 100;
  // 256 KiB a stream: 20 Gbit/s at a loopback's 100 us, 100 Mbit/s at 20 ms, and a quarter of what a session holds of a
  // body before it stops reading. 4 MiB a connection: sixteen consumers may stall before the others feel it, and it is
  // the most that a connection's stalled consumers hold.
  uint32_t stream_window = 256 * 1024;
  uint32_t connection_window = 4 * 1024 * 1024;
  bool connect_protocol = true;  // server: extended CONNECT is taken (RFC 8441)
  H2Budgets budgets;
  const Clock* clock = nullptr;           // fills the budgets; null: each is for the whole connection
  std::function<void(H2Abuse)> on_abuse;  // once each time a limit was passed
  // Server: a head or trailers passed one of Limits; head_limit() or field_limit().
  std::function<void(const Error&)> on_too_large;
};

// `scheme` ("http" or "https") is what requests get that say none themselves.
[[nodiscard]] std::unique_ptr<Codec> make_h2_codec(Role role, const Limits& limits = {},
                                                   std::string_view scheme = "http", const H2Options& options = {});

class H2Codec final : public Codec {
 public:
  // Accepted and not framed, a stream. Beyond kFullQueues open streams each gets its share of what those would hold, so
  // that n streams hold at most 6.25 MiB * (1 + ln(n / 100)) however they fill up: 21 MiB for 1,000.
  static constexpr size_t kStreamQueue = 65536;
  static constexpr size_t kFullQueues = 100;
  static constexpr size_t kOutputBytes = 262144;

  H2Codec(Role role, const Limits& limits, std::string_view scheme, const H2Options& options);
  ~H2Codec() override;

  [[nodiscard]] ByteQueue& input() override { return in_; }
  Result<std::optional<Event>> next() override;
  Result<void> end_of_input() override;
  [[nodiscard]] RequestHead& request_head() override { return request_; }
  [[nodiscard]] ResponseHead& response_head() override { return response_; }
  [[nodiscard]] Headers& trailers() override { return trailers_; }
  void consumed(StreamId stream, size_t n) override;

  [[nodiscard]] ByteQueue& output() override;
  Result<StreamId> send_request(const RequestHead& head, EndStream end) override;
  Result<void> send_response(StreamId stream, const ResponseHead& head, EndStream end) override;
  Result<void> send_informational(StreamId stream, const ResponseHead& head) override;
  Result<size_t> send_body(StreamId stream, std::string_view bytes, const std::optional<ChunkStart>& chunk) override;
  Result<void> send_end(StreamId stream, const Headers& trailers) override;
  void reset(StreamId stream, ResetCode code) override;

  [[nodiscard]] size_t send_capacity(StreamId stream) const override;

  [[nodiscard]] bool has_unsent(StreamId stream) const override;
  [[nodiscard]] size_t unsent() const override;

  [[nodiscard]] bool is_multiplexed() const override { return true; }
  [[nodiscard]] bool must_close() const override;
  void start_drain() override;
  [[nodiscard]] bool is_idle() const override;
  [[nodiscard]] size_t streams_left() const override;
  [[nodiscard]] bool knows_peer() const override { return settings_seen_; }
  [[nodiscard]] bool takes_extended_connect() const override;

 private:
  struct Stream {
    StreamId id = 0;
    ByteQueue queue;                      // accepted, not framed
    Headers trailers;                     // to send
    std::optional<uint64_t> length_left;  // of the Content-Length we promised
    bool head_request = false;            // HEAD
    bool websocket = false;               // extended CONNECT for it
    // Towards us.
    std::optional<uint64_t> request_left;  // server: of the Content-Length the client promised
    bool shown = false;                    // the application knows this stream
    bool head_seen = false;                // the request, or the final response
    bool remote_ended = false;
    bool peer_reset = false;   // RST_STREAM came
    bool given_up = false;     // nothing more of it is shown, nothing more is taken for it
    bool reset_by_us = false;  // because we wanted it, not because of what the peer did
    // From us.
    bool head_sent = false;
    bool ended = false;        // send_end
    bool local_ended = false;  // END_STREAM went out
    bool bodiless = false;     // END_STREAM with the head; body bytes are dropped
    bool deferred = false;     // nghttp2 waits for more of `queue`
    bool reset_behind_end = false;
  };
  struct Callbacks;  // what nghttp2 calls: h2_receive.cc, h2_send.cc
  friend struct Callbacks;

  // ---- streams
  [[nodiscard]] static size_t unsent(const Stream& stream);
  [[nodiscard]] size_t room(const Stream& stream) const;  // of its queue
  [[nodiscard]] Stream* find(StreamId id) const;
  Stream* open(StreamId id);
  void release(StreamId id);

  // ---- receiving (h2_receive.cc)
  Result<void> take_preface();
  Result<bool> feed();  // false: needs more bytes
  // nghttp2 would break the stream off, and with it our answer.
  [[nodiscard]] Stream* cut_short_by(const H2FrameHeader& frame);
  Result<void> give(std::string_view bytes);
  [[nodiscard]] Result<void> feed_farewell();
  Result<void> feed_cut(const H2FrameHeader& frame, Stream& stream);
  void emit(Event event) { events_.push_back(event); }
  void forget_events(StreamId stream);
  int begin_block(const nghttp2_frame& frame);
  int field(const nghttp2_frame& frame, std::string_view name, std::string_view value);
  void block_done(const nghttp2_frame& frame, Stream& stream);
  void head_done(Stream& stream, EndStream end);
  void remote_end(Stream& stream);
  void frame_received(const nghttp2_frame& frame);
  void closed(StreamId id, uint32_t code);
  void refuse_message(Stream& stream, ResetCode code);
  void answer_too_large(Stream& stream);
  void note_abuse(H2Abuse abuse);
  void note_too_large();
  Error fail_connection(const H2Guard::Fault& fault);
  Error connection_error(Code code, std::string detail) const;

  // ---- sending (h2_send.cc)
  void pump(size_t limit);
  void append_settings(std::string frame);
  void frame_sent(const nghttp2_frame& frame);
  ssize_t read_queue(Stream& stream, size_t length, uint32_t* flags);
  int send_data(Stream& stream, const uint8_t* header, size_t length);
  const std::vector<nghttp2_nv>& as_nv(const Headers& fields);
  Result<Stream*> writable(StreamId id) const;
  Result<void> plan_body(Stream& stream, EndStream end);
  void resume(Stream& stream);
  void reset_sent(StreamId id, ResetCode code);
  void submit_final_goaway();

  const Role role_;
  const Origin origin_;
  const std::string scheme_;
  const Limits limits_;
  const std::function<void(H2Abuse)> on_abuse_;
  const std::function<void(const Error&)> on_too_large_;
  const uint32_t max_streams_;
  nghttp2_session* session_ = nullptr;
  H2Guard guard_;
  H2HeadReader reader_;

  ByteQueue in_, out_;
  size_t given_ = 0;         // bytes at the front of in_ that nghttp2 has read; views into them may be out
  size_t payload_left_ = 0;  // of the frame being read
  bool preface_due_;
  std::vector<Event> events_;
  size_t next_event_ = 0;
  RequestHead request_;
  ResponseHead response_;
  Headers trailers_;
  bool skip_block_ = false;  // the header block being read belongs to nobody

  std::vector<Stream*> streams_;                // open, by ascending id
  std::vector<std::unique_ptr<Stream>> owned_;  // all there ever were; those not open are spare_
  std::vector<Stream*> spare_;
  Headers fields_;  // scratch of what is sent
  std::vector<nghttp2_nv> nv_;

  bool dirty_ = true;    // nghttp2 may have something to send
  bool paused_ = false;  // data waits for room in out_
  size_t data_limit_ = kOutputBytes;
  bool pumping_ = false;
  bool eof_ = false;
  bool settings_due_;  // server: our SETTINGS have not been framed
  bool settings_seen_ = false;
  bool draining_ = false;
  bool going_away_ = false;  // GOAWAY received
  bool closing_ = false;     // final GOAWAY sent
  std::string complaint_;    // nghttp2's words for what is wrong
  std::optional<Error> failure_;
};

}  // namespace tapdeck::http

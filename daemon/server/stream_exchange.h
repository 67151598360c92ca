// StreamExchange: the Exchange of one codec stream, with the queue between the session's pump and the handler.
//
// Owner: the Session, which fills it. Thread: its worker's.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "daemon/exchange/exchange.h"
#include "daemon/server/session.h"

namespace tapdeck::server {

class StreamExchange final : public exchange::Exchange {
 public:
  explicit StreamExchange(Session& session) : session_(session), ready_(session.context_.executor) {}

  // Begins anew for another stream; keeps allocations.
  void begin(http::StreamId stream, http::RequestHead& head, http::EndStream end);
  // It has ended. Drops what it holds of the body; false: its buffers are too large to be kept for another.
  [[nodiscard]] bool put_away();

  // ---- from the pump
  void on_body(const http::BodyReceived& body);
  void on_trailers(const http::Headers& trailers) { trailers_ = trailers; }
  void on_complete();
  void on_failure(const Error& error);
  // Body bytes that wait for the handler: what the client's window is owed.
  [[nodiscard]] size_t buffered() const { return body_.size(); }
  // Memory that they take, with what is known of each chunk: a byte may come in a chunk of its own.
  [[nodiscard]] size_t held() const { return body_.size() + marks_bytes_; }
  [[nodiscard]] http::StreamId stream() const { return stream_; }
  [[nodiscard]] bool request_is_complete() const { return complete_; }
  [[nodiscard]] bool response_has_ended() const { return ended_; }
  [[nodiscard]] bool is_tunnel() const { return tunnel_; }
  // The client reset the stream, or its connection failed: nobody listens any more.
  void on_client_gone(const Error& error);
  [[nodiscard]] bool is_gone() const { return gone_; }
  [[nodiscard]] bool holds_last_byte() const { return !last_byte_.empty(); }
  // Queues what deliver() has held back.
  void release_last_byte() { session_.codec_->output().append(std::move(last_byte_)); }
  // The coroutine of its handler, to stop it alone.
  void set_task(net::TaskGroup::Id task) { task_ = task; }
  [[nodiscard]] net::TaskGroup::Id task() const { return task_; }
  // Answers in the handler's place, whatever that still tries; no response has begun.
  void answer_failure(const Error& error);
  // Raw bytes of an upgraded connection.
  void take_raw(ByteQueue& from) {
    facts_.request_bytes += from.size();
    body_.append(std::move(from));
    ready_.notify();
  }

  // ---- Exchange
  const http::RequestHead& request() const override { return head_; }
  bool request_is_bodyless() const override { return bodyless_; }
  net::Task<Result<exchange::BodyPiece>> read_body() override;
  const http::Headers& request_trailers() const override { return trailers_; }
  Result<void> inform(const http::ResponseHead& head) override;
  Result<void> respond(const http::ResponseHead& head, http::EndStream end) override;
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override;
  Result<void> write_now(const exchange::BodyPiece& piece) override;
  Result<void> end(const http::Headers& trailers) override;
  net::Task<Result<void>> flush() override;
  Result<bool> try_flush() override;
  // Of a response over HTTP/1 that has ended: all but its last byte, which follows when its handler returns.
  net::Task<Result<void>> deliver() override;
  void reset(http::ResetCode code) override;
  void cut(http::ResetCode code) override;
  void reset_connection() override;
  void become_tunnel() override;
  bool response_started() const override { return started_; }
  size_t writable_now() const override { return session_.codec_->send_capacity(stream_); }
  const exchange::CapturedFlow& flow() const override { return session_.flow_; }
  const exchange::TlsFacts& tls() const override { return session_.tls_; }
  exchange::Facts& facts() override { return facts_; }

 private:
  struct ChunkMark {
    uint64_t offset;  // in the body, of the chunk's first byte
    uint64_t size;
    std::string extension;
    [[nodiscard]] size_t cost() const { return sizeof(ChunkMark) + extension.size(); }
  };
  void note_departure(const Error& error);
  void hold_last_byte();
  [[nodiscard]] Result<void> check_client() const;
  [[nodiscard]] Result<void> check_writable() const;
  [[nodiscard]] bool is_chunked(const http::ResponseHead& head) const;
  [[nodiscard]] bool is_multiplexed() const { return session_.codec_->is_multiplexed(); }
  // Waits for `signal`; the error says that it is in vain: cancelled, or the client stalled this stream `since` long
  // ago.
  net::Task<Result<void>> wait(net::Signal& signal, exchange::Clock::time_point since, const char* what);
  net::Task<Result<void>> wait_until_framed();        // h2: all of the stream is in the codec's output
  net::Task<Result<void>> wait_until_acknowledged();  // h1: of the connection, by the client's kernel
  net::Task<Result<void>> wait_for_close();           // h1 in TLS; the error: it came
  // As much as the codec takes; returns how many bytes.
  [[nodiscard]] Result<size_t> send_some(const exchange::BodyPiece& piece);
  [[nodiscard]] exchange::BodyPiece next_piece();
  // Of the chunk that begins now; valid until the next one is taken.
  [[nodiscard]] http::ChunkStart take_mark();
  void drop_body();

  Session& session_;
  net::Signal ready_;
  http::StreamId stream_ = 0;
  net::TaskGroup::Id task_ = 0;
  http::RequestHead head_;
  http::Headers trailers_;
  exchange::Facts facts_;
  ByteQueue body_;
  ByteQueue last_byte_;  // of the response
  std::deque<ChunkMark> marks_;
  size_t marks_bytes_ = 0;    // their cost()
  std::string extension_;     // of the piece handed out last
  uint64_t read_offset_ = 0;  // body bytes consumed by the handler
  size_t handed_out_ = 0;     // bytes of the last piece, consumed at the next read
  std::optional<Error> failure_;
  bool bodyless_ = false;
  bool complete_ = false;
  bool started_ = false;
  bool ended_ = false;
  bool tunnel_ = false;
  bool gone_ = false;
  bool ended_by_tls_ = false;  // the client, before its answer, and its connection was open then
};

}  // namespace tapdeck::server

// MuxConnection: an HTTP/2 connection to an origin, shared by the exchanges of a worker; MuxStream: the Lane of one.
//
// One coroutine reads for all streams and deals events out to them; whoever has something to send writes. A stream
// that is not read keeps its bytes, at most its window, and holds nobody else up (docs/FLOW_CONTROL.md).
// Owner: the Pool, as long as run() runs; lanes belong to their handlers and are gone before. Thread: its worker's.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/transport/output_writer.h"
#include "daemon/upstream/lane.h"

namespace tapdeck::upstream {

class MuxStream;

// What a stream waits with and reads a head into. A connection hands it from one stream to the next: timers stay
// armed, buffers keep their capacity.
struct MuxWaiter {
  explicit MuxWaiter(const asio::any_io_executor& executor);
  net::Signal ready;
  net::Deadline deadline;
  MuxStream* stream = nullptr;  // whose it is
  http::ResponseHead arrived;   // not handed out yet
  http::ResponseHead head;
};

class MuxConnection final : private transport::OutputSource {
 public:
  MuxConnection(DialContext& context, Channel channel);
  MuxConnection(const MuxConnection&) = delete;
  MuxConnection& operator=(const MuxConnection&) = delete;
  ~MuxConnection();

  // Reads until the connection has ended; returns when the last lane is gone as well.
  net::Task<> run();
  // The origin takes a further stream now.
  [[nodiscard]] bool can_open() const;
  [[nodiscard]] std::unique_ptr<MuxStream> open(ClientId client);

  // ---- whom it serves: all clients of its key, until an identity belongs to it
  // False: it is one of them already.
  bool admit(ClientId client) { return clients_.insert(client).second; }
  void dismiss(ClientId client);
  [[nodiscard]] const std::unordered_set<ClientId>& clients() const { return clients_; }
  [[nodiscard]] bool is_bound_to(ClientId client) const { return bound_to_ == client; }
  [[nodiscard]] bool is_bound() const { return bound_to_.has_value(); }
  // Nobody else uses it.
  [[nodiscard]] bool is_alone(ClientId client) const;
  // To that client alone. A connection that others use as well takes no further streams instead.
  void bind(ClientId client);
  // Takes no further lanes, and ends when the last is gone.
  void retire();
  // Breaks everything off.
  void abort();

  [[nodiscard]] size_t lanes() const { return lanes_; }
  [[nodiscard]] exchange::Clock::time_point idle_since() const { return idle_since_; }
  [[nodiscard]] const Channel& channel() const { return channel_; }

 private:
  friend class MuxStream;

  void pump();
  void dispatch(const http::Event& event);
  // ---- OutputSource
  ByteQueue& output() override { return codec_->output(); }
  const Error* ended() const override { return failure_ ? &*failure_ : nullptr; }
  void on_room() override { room_.notify(); }
  void on_idle() override { room_.notify(); }
  void on_lost(const Error& error) override { fail(error); }
  void fail(const Error& error);
  // Says why (GOAWAY), then fails; the socket is closed after a linger.
  void refuse(const Error& error);
  net::Task<> linger();
  void give_up(const Error& error);
  void close_if_unused();
  void lane_gone();
  [[nodiscard]] std::unique_ptr<MuxWaiter> take_waiter();
  void give_back(std::unique_ptr<MuxWaiter> waiter);

  DialContext& context_;
  Channel channel_;
  std::unique_ptr<http::Codec> codec_;
  std::unordered_map<http::StreamId, MuxStream*> streams_;
  std::vector<std::unique_ptr<MuxWaiter>> waiters_;  // not in use
  net::TaskGroup group_;
  net::Signal room_;     // bytes were written, or windows opened
  net::Signal changed_;  // a lane is gone
  transport::OutputWriter writer_;
  std::optional<Error> failure_;
  exchange::Clock::time_point idle_since_{};
  size_t lanes_ = 0;
  size_t unsent_lanes_ = 0;               // opened, and their requests not sent yet
  uint64_t arrivals_ = 0;                 // reads that brought something
  std::unordered_set<ClientId> clients_;  // alive, and had a stream of it
  std::optional<ClientId> bound_to_;
  bool served_ = false;  // a request went out on it
  bool retired_ = false;
  bool going_away_ = false;
  // Of a GOAWAY that says what went wrong: streams that it had begun to answer end with it when the connection does.
  std::optional<http::ResetCode> away_code_;
  bool lingers_ = false;
};

class MuxStream final : public Lane {
 public:
  explicit MuxStream(MuxConnection& connection);
  ~MuxStream() override;

  [[nodiscard]] bool is_settled() const override;
  net::Task<Result<void>> settle() override;
  Result<void> send_request(const http::RequestHead& head, http::EndStream end) override;
  net::Task<Result<void>> send_body(exchange::BodyPiece piece) override;
  Result<void> send_end(const http::Headers& trailers) override;
  net::Task<Result<void>> flush() override { return connection_.writer_.flush(); }
  Result<bool> try_flush() override { return connection_.writer_.try_flush(); }
  Result<std::optional<http::Event>> try_next() override;
  net::Task<Result<std::optional<http::Event>>> next() override;
  http::ResponseHead& response_head() override { return waiter_->head; }
  http::Headers& trailers() override { return trailers_; }
  void consumed(size_t n) override;
  net::Task<Result<exchange::BodyPiece>> read_tunnel() override;
  net::Task<Result<void>> write_tunnel(exchange::BodyPiece piece) override;
  void end_tunnel() override;
  void abandon(http::ResetCode code) override;
  void bind() override { connection_.bind(client); }
  bool has_heard() const override { return answered_ || connection_.arrivals_ != arrivals_before_; }
  std::optional<http::ResetCode> reset_code() const override { return reset_; }
  const Channel& channel() const override { return connection_.channel_; }
  std::chrono::milliseconds idle_timeout() const override { return connection_.context_.idle_timeout; }

 private:
  friend class MuxConnection;
  friend struct MuxWaiter;

  void on_event(const http::Event& event, http::Codec& codec);
  void on_failure(const Error& error);
  [[nodiscard]] std::string authority() const;  // of a request that names none
  void watch();                                 // sets the deadline
  void note_progress() { progress_ = exchange::Clock::now(); }
  void on_stalled();                   // it has passed
  [[nodiscard]] static Error ended();  // before the request was sent
  [[nodiscard]] Error refusal(const http::StreamReset& reset) const;
  [[nodiscard]] Error broken() const;  // why nothing more comes
  // Waits for `signal` at most the idle timeout; the error says why waiting is over for good.
  net::Task<Result<void>> wait(net::Signal& signal, const char* what);

  MuxConnection& connection_;
  std::unique_ptr<MuxWaiter> waiter_;
  http::StreamId id_ = 0;
  std::vector<http::ResponseHead> informational_;  // not handed out yet, oldest first
  http::Headers trailers_;
  ByteQueue body_;
  http::EndStream head_end_ = http::EndStream::No;
  int waits_ = 0;                           // for either direction; the deadline is for both
  exchange::Clock::time_point progress_{};  // when the exchange last came on: the deadline counts from here
  size_t handed_out_ = 0;                   // bytes of the last Body event
  size_t unconsumed_ = 0;                   // bytes the codec gave us and has not got back as window
  std::optional<http::ResetCode> reset_;
  std::optional<Error> failure_;
  uint64_t arrivals_before_ = 0;  // of the connection, when the request went out
  bool has_head_ = false;         // arrived, and not handed out
  bool has_trailers_ = false;
  bool complete_ = false;
  bool told_complete_ = false;
  bool answered_ = false;  // any part of a response came
  bool request_ended_ = false;
  bool tunnel_ended_ = false;
};

}  // namespace tapdeck::upstream

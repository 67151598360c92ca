// Session: a downstream connection that speaks HTTP: pumps bytes into the codec, gives each request to the Handler as
// an Exchange, and writes what comes back. Version-free: all it knows of h1 or h2 is the Codec interface.
//
// The pump reads on while exchanges run, so that a client that leaves is noticed and pipelined bytes are bounded.
// Ends (run() returns) when the peer is gone, the codec must close, a deadline passed or the worker drains.
// Owner: the connection coroutine. Thread: its worker's.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/exchange/handler.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/transport/output_writer.h"

namespace tapdeck::server {

struct SessionLimits {
  std::chrono::milliseconds header_timeout{10000};
  std::chrono::milliseconds idle_timeout{300000};
  std::chrono::milliseconds request_timeout{0};
  size_t body_buffer = 1 << 20;  // memory of one exchange's unread request body before the client is paused (h1)
};

class ExchangeObserver {
 public:
  virtual ~ExchangeObserver() = default;
  // Once an exchange, however it ended: log line and metrics.
  virtual void finished(exchange::Exchange& exchange) = 0;
  // What came was refused before it was an exchange, or the connection is broken off for it.
  virtual void refused(const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls, const Error& error) = 0;
};

struct SessionContext {
  asio::any_io_executor executor;
  exchange::Handler* handler = nullptr;
  ExchangeObserver* observer = nullptr;
  Metrics* metrics = nullptr;
  SessionLimits limits;
  std::optional<exchange::Clock::time_point> first_head{};  // when its first byte came; none: it comes yet
};

// After our last byte: how long the client may take to read it and close, before a reset could cost it the response.
inline constexpr std::chrono::milliseconds kLinger{1500};

class StreamExchange;

class Session final : private transport::OutputSource {
 public:
  // `codec` has Role::Server; its input() may already hold bytes. flow and tls outlive the session.
  Session(const SessionContext& context, const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls,
          transport::Transport& transport, std::unique_ptr<http::Codec> codec);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  net::Task<> run();
  // Finishes open exchanges, then closes. Idle sessions close at once; who only waits for its client to leave is broken
  // off.
  void drain();
  // No client reads on that has ended its side: what is open for such a one is broken off.
  void drop_left();
  // The same of a client that cannot say so.
  void drop();
  // Breaks off what passes between the client and an origin unrecorded. How many there were.
  size_t reset_tunnels();
  // Breaks everything off now: open exchanges fail, so that no handler waits for a client that will not be read again.
  void abort();

 private:
  friend class StreamExchange;
  // Closing: our direction ended, what the client still sends is discarded. Dead: the socket is closed.
  enum class Phase { Open, Closing, Dead };

  void pump();  // codec events -> exchanges
  void dispatch(const http::Event& event);
  void begin_exchange(const http::HeadReceived& head);
  void start(StreamExchange* exchange);         // the handler
  net::Task<> serve(StreamExchange* exchange);  // runs the handler in a coroutine of its own
  void time_out(StreamExchange& exchange);      // 408 or 504 if no response has begun, else broken off
  void finish(StreamExchange* exchange);
  // Breaks a response off: its stream where the codec has streams, else the connection.
  void give_up(StreamExchange& exchange, http::ResetCode code, const Error& error);
  size_t break_off_those(bool exchange::Facts::* are, const Error& error);
  // give_up() over HTTP/1 by an orderly end, behind what was flushed.
  void hang_up(StreamExchange& exchange);
  void close_orderly();
  void refuse(const Error& error);  // malformed input: 4xx if no response is under way, then close
  void settle();                    // after any progress: flush, close if done, resume the reader
  // ---- OutputSource
  ByteQueue& output() override { return codec_->output(); }
  const Error* ended() const override { return phase_ == Phase::Open ? nullptr : &end_; }
  void on_room() override { resume_.notify(); }
  void on_idle() override { settle(); }
  void on_lost(const Error& error) override { lose_client(error); }

  void set_read_deadline();
  void on_deadline();
  // 408 to those whose request stalled, then the end. False: one of them has an answer that has begun.
  [[nodiscard]] bool answer_stalled(const Error& error);
  void lose_client(const Error& error);                            // the connection is broken: every exchange fails
  void lose_stream(StreamExchange& exchange, const Error& error);  // the client gave up on this one
  void fail_streams(const Error& error);
  void on_exception(const std::exception_ptr& failure);  // out of a handler
  net::Task<> discard_until_end();
  void end_input();
  [[nodiscard]] bool must_pause_reading() const;
  [[nodiscard]] bool may_close() const;
  [[nodiscard]] bool owes_last_byte() const;
  [[nodiscard]] bool owes() const;  // answers whose rest waits for the client's windows
  [[nodiscard]] StreamExchange* find(http::StreamId stream);

  SessionContext context_;
  const exchange::CapturedFlow& flow_;
  const exchange::TlsFacts& tls_;
  transport::Transport& transport_;
  std::unique_ptr<http::Codec> codec_;
  std::vector<std::unique_ptr<StreamExchange>> active_;
  std::vector<std::unique_ptr<StreamExchange>> spare_;  // ended, for the next ones: no allocation once warm
  net::TaskGroup group_;
  net::Signal resume_;
  net::Deadline read_deadline_;
  transport::OutputWriter writer_;
  Phase phase_ = Phase::Open;
  Error end_{Code::Closed, "the client is gone", Origin::Downstream, Retry::No, 0};
  // Its handler starts when all was read that came with its head: nothing of a malformed request is to reach an origin.
  StreamExchange* unstarted_ = nullptr;
  std::optional<size_t> debt_;  // of owes(), when the deadline was set
  bool in_head_ = false;        // a head has begun and is not complete
  bool input_ended_ = false;    // the client half-closed
  exchange::Clock::time_point input_ended_at_{};
  bool refused_ = false;  // parsing has stopped for good
  bool draining_ = false;
  bool raw_ = false;  // an upgraded exchange owns the bytes
  bool pumping_ = false;
  bool resets_on_close_ = false;  // while the connection's end would pass for the end of a response
  bool clogged_ = false;          // h1: requests are left in the input until the client has read
};

}  // namespace tapdeck::server

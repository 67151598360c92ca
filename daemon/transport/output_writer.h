// OutputWriter: brings what the codec of a connection has put out into the socket, for the many who write to it: at
// once, at the end of the loop's turn, or, while the socket is full, by a coroutine that waits for room.
//
// Owner: a connection, whose task group outlives no wait of it. Thread: its worker's.
#pragma once

#include <chrono>
#include <functional>

#include "daemon/net/task_group.h"
#include "daemon/transport/stall_watch.h"

namespace tapdeck::transport {

// Above this many unsent bytes writers wait for the socket: two TLS turns of the transport.
inline constexpr size_t kWriteHighWater = 131072;

// The connection as its writer sees it.
class OutputSource {
 public:
  // What is to be written. Asked anew each time: a multiplexing codec fills it again as it empties.
  [[nodiscard]] virtual ByteQueue& output() = 0;
  // Why nothing is written any more; null: the connection goes on.
  [[nodiscard]] virtual const Error* ended() const = 0;
  virtual void on_room() = 0;                    // some of it was written
  virtual void on_idle() = 0;                    // as much as could be; nobody writes now
  virtual void on_lost(const Error& error) = 0;  // the socket is broken; ended() from here on

 protected:
  ~OutputSource() = default;
};

class OutputWriter {
 public:
  // Now: a message is out when flush() returns. EndOfTurn: for connections with many streams, of which each would cost
  // a TLS record, a system call and a wake-up of the peer.
  enum class When { Now, EndOfTurn };
  struct Options {
    When when = When::Now;
    std::chrono::milliseconds patience{0};  // with a peer that takes nothing (StallWatch)
    std::function<void()> on_stalled;
  };
  OutputWriter(OutputSource& source, Transport& transport, net::TaskGroup& group, asio::any_io_executor executor,
               Options options);

  // Without waiting for the result: now, or at the end of the turn.
  void write_soon();
  // As far as the socket takes it; a coroutine does the rest.
  void write_now();
  // Waits only while too much is unsent.
  net::Task<Result<void>> flush();
  // The same without waiting. False: flush() has to wait.
  Result<bool> try_flush();
  // Bytes that the socket has not taken.
  [[nodiscard]] size_t backlog() const { return source_.output().size() + transport_.unsent(); }
  [[nodiscard]] bool is_clogged() const { return backlog() >= kWriteHighWater; }

 private:
  net::Task<> write_at_end_of_turn();
  void start_rest();
  net::Task<> write_rest();
  Result<bool> try_write();
  net::Task<Result<void>> write_all();  // until the socket has everything

  OutputSource& source_;
  Transport& transport_;
  net::TaskGroup& group_;
  asio::any_io_executor executor_;
  When when_;
  std::chrono::milliseconds patience_;
  StallWatch watch_;
  bool active_ = false;  // a coroutine of ours will write
  int waiting_ = 0;      // in write_all()
};

}  // namespace tapdeck::transport

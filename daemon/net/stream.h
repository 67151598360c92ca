// Stream: one connected stream socket (TCP or unix), read and written through ByteQueues with Results, never
// exceptions.
//
// Knows nothing of TLS or HTTP. At most one read and one write may be pending. Closing it ends both.
// Owner: one connection. Thread: its worker's.
#pragma once

#include <asio/generic/stream_protocol.hpp>

#include <memory>
#include <optional>

#include "daemon/base/byte_queue.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/net/task.h"

namespace tapdeck::net {

class Stream {
 public:
  // `side` becomes the origin of every error. Takes a connected or connecting non-blocking descriptor. One that cannot
  // be watched is closed, and the Stream with it: is_open().
  Stream(const asio::any_io_executor& executor, UniqueFd fd, Origin side);
  // The two ends of a connection within this process. As over TCP, abort() of one is a reset at the other, behind what
  // was written before.
  struct Pair {
    std::unique_ptr<Stream> client, server;
  };
  [[nodiscard]] static Result<Pair> make_pair(const asio::any_io_executor& executor);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Reads what is there, at least one byte; 0 = end of stream. `into` must stay alive and untouched meanwhile.
  Task<Result<size_t>> read_some(ByteQueue& into);
  // The same without waiting; nullopt: nothing is there now.
  Result<std::optional<size_t>> try_read(ByteQueue& into);
  // Writes and consumes all of `from`, also what is appended to it meanwhile.
  Task<Result<void>> write_all(ByteQueue& from);
  // Writes as much as the socket takes now; true when `from` is empty afterwards. Never blocks.
  Result<bool> try_write(ByteQueue& from);
  // For callers that move bytes themselves (splice).
  Task<Result<void>> wait_readable();
  Task<Result<void>> wait_writable();
  // Waits until a non-blocking connect() is done.
  Task<Result<void>> finish_connect(const Endpoint& destination);
  // Nothing unread and not closed by the peer: fit for reuse.
  [[nodiscard]] bool is_quiet() const;
  // The peer has closed, or broken off, and left nothing to read.
  [[nodiscard]] bool has_ended() const;

  // How much of what was written here the peer's kernel has acknowledged (SIOCOUTQ).
  [[nodiscard]] uint64_t bytes_acknowledged() const;
  [[nodiscard]] uint64_t bytes_written() const { return written_; }
  // Of bytes that the caller moved there itself.
  void note_written(size_t bytes) { written_ += bytes; }

  void shutdown_send();
  // Ends pending operations with Cancelled; the socket stays open.
  void cancel();
  // Until it is called with false: whatever closes the socket, the end of this process too, resets the connection.
  void reset_on_close(bool on);
  // Orderly close. Pending operations end with Cancelled.
  void close();
  // Close with RST: the peer must not take what it has for a whole message.
  void abort();
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  [[nodiscard]] int native_handle() { return socket_.native_handle(); }
  [[nodiscard]] asio::any_io_executor executor() { return socket_.get_executor(); }
  // Gives the descriptor away (tunnels by splice); the Stream is closed afterwards.
  [[nodiscard]] UniqueFd release();

 private:
  [[nodiscard]] std::unexpected<Error> error(const std::error_code& code, const char* what) const;
  asio::generic::stream_protocol::socket socket_;
  Origin side_;
  uint64_t written_ = 0;
  // Of a pair: an end was aborted. The kernel has no reset for such sockets.
  std::shared_ptr<bool> pair_aborted_;
};

// Starts a non-blocking connect of `stream` to `destination` and waits for it at most `timeout`.
Task<Result<void>> connect_within(Stream& stream, Endpoint destination, std::chrono::steady_clock::duration timeout);

}  // namespace tapdeck::net

// Transport: a Stream with or without TLS on it. Plaintext goes in and out through the owner's ByteQueues (a codec's
// input and output), so that nothing above knows whether the connection is encrypted.
//
// It dials nothing, decides nothing about certificates and has no timer. One reader at a time; any number of writers
// may call flush(), the first does the work. Owner: one connection. Thread: its worker's.
#pragma once

#include <memory>
#include <optional>

#include "daemon/net/stream.h"
#include "daemon/tls/tls_session.h"

namespace tapdeck::transport {

class Transport {
 public:
  explicit Transport(std::unique_ptr<net::Stream> stream);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Bytes read before TLS began (a peeked ClientHello) belong to the session.
  void start_tls(std::unique_ptr<tls::TlsSession> session, ByteQueue received);
  // Runs the handshake to its end. On failure a pending alert has been sent as far as the socket took it.
  net::Task<Result<void>> handshake();

  // Appends at least one byte of plaintext to `plain`; 0 = the peer ended its direction. So it is of TLS that ended
  // without close_notify: ended_without_notice() tells the two apart, for who needs to know that nothing was cut off.
  net::Task<Result<size_t>> read_some(ByteQueue& plain);
  // The transport ended without a TLS close_notify: a body delimited by the end of the connection is not whole.
  [[nodiscard]] bool ended_without_notice() const { return ended_without_notice_; }

  // Sends what fits now without waiting; true when nothing is left. While another writer is active: false.
  Result<bool> try_flush(ByteQueue& plain);
  // Returns when `plain` (always the same queue) and all ciphertext are in the kernel.
  net::Task<Result<void>> flush(ByteQueue& plain);
  // Ciphertext not yet taken by the kernel.
  [[nodiscard]] size_t unsent() const;

  // Ends our direction (close_notify as far as the socket takes it, then FIN); flush first.
  void end_output();
  void close();
  void abort();

  [[nodiscard]] net::Stream& stream() { return *stream_; }
  [[nodiscard]] tls::TlsSession* session() { return session_.get(); }
  // A pooled connection with nothing to read and not closed by its peer. What TLS says for itself (the tickets that
  // every TLS 1.3 server sends behind its handshake) is taken in and does not count.
  [[nodiscard]] bool is_quiet();

 private:
  size_t read_on();
  Result<void> encrypt_some(ByteQueue& plain);
  net::Task<Result<void>> write_out(ByteQueue& plain);

  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<tls::TlsSession> session_;
  ByteQueue landing_;  // clear-text reads land here, since the owner consumes from `plain` while a read is pending
  std::optional<Error> late_failure_;  // of a read that had bytes before it
  net::Signal written_;
  bool writing_ = false;
  bool more_decryptable_ = false;
  bool ended_without_notice_ = false;
};

}  // namespace tapdeck::transport

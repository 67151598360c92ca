#include "daemon/net/stream.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "daemon/base/descriptors.h"
#include "daemon/net/deadline.h"

namespace tapdeck::net {

namespace {

// The Asio protocol object must name the family, or assign() registers the wrong one.
asio::generic::stream_protocol protocol_of(int fd) {
  int family = AF_INET;
  int type = 0;
  socklen_t size = sizeof family;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
  size = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &type, &size);
  return {family, type};
}

}  // namespace

Stream::Stream(const asio::any_io_executor& executor, UniqueFd fd, Origin side) : socket_(executor), side_(side) {
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // fails harmlessly on unix sockets
  std::error_code error;
  const auto protocol = protocol_of(fd.get());
  socket_.assign(protocol, fd.get(), error);
  if (error) return;  // the descriptor is ours to close
  ignore(fd.release(), "the socket has it now");
  socket_.native_non_blocking(true, error);
  if (error) close();
}

Result<Stream::Pair> Stream::make_pair(const asio::any_io_executor& executor) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_errno(errno, "make a socket pair", Origin::Internal);
  UniqueFd client(ends[0]), server(ends[1]);
  if (std::max(ends[0], ends[1]) >= descriptor_bounds().serving)
    return fail_errno(EMFILE, "make a socket pair", Origin::Internal);
  Pair pair{std::make_unique<Stream>(executor, std::move(client), Origin::Upstream),
            std::make_unique<Stream>(executor, std::move(server), Origin::Downstream)};
  pair.client->pair_aborted_ = pair.server->pair_aborted_ = std::make_shared<bool>(false);
  return pair;
}

std::unexpected<Error> Stream::error(const std::error_code& code, const char* what) const {
  if (code == asio::error::operation_aborted || !socket_.is_open()) {
    return fail(Code::Cancelled, std::string(what) + " was cancelled", side_);
  }
  return fail_errno(code.value(), what, side_);
}

Task<Result<size_t>> Stream::read_some(ByteQueue& into) {
  if (!socket_.is_open()) co_return error(asio::error::operation_aborted, "read");
  const std::span<char> space = into.reserve();
  const auto buffer = asio::buffer(space.data(), space.size());
  auto [code, n] = co_await socket_.async_read_some(buffer, kToken);
  if (code == asio::error::eof && pair_aborted_ != nullptr && *pair_aborted_) {
    co_return fail_errno(ECONNRESET, "read", side_);
  }
  if (code == asio::error::eof) co_return size_t{0};
  if (code) co_return error(code, "read");
  into.commit(n);
  co_return n;
}

Result<std::optional<size_t>> Stream::try_read(ByteQueue& into) {
  if (!socket_.is_open()) return error(asio::error::operation_aborted, "read");
  const std::span<char> space = into.reserve();
  const ssize_t n = ::recv(socket_.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::optional<size_t>{};
  if (n < 0) return fail_errno(errno, "read", side_);
  into.commit(static_cast<size_t>(n));
  return std::optional<size_t>(static_cast<size_t>(n));
}

Result<bool> Stream::try_write(ByteQueue& from) {
  while (!from.empty()) {
    if (!socket_.is_open()) return error(asio::error::operation_aborted, "write");
    std::array<iovec, 16> pieces{};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = from.pieces(pieces);
    const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      written_ += static_cast<uint64_t>(n);
      from.consume(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return fail_errno(errno, "write", side_);
  }
  return true;
}

Task<Result<void>> Stream::write_all(ByteQueue& from) {
  while (true) {
    CO_TRY(done, try_write(from));
    if (done) co_return Result<void>{};
    auto [code] = co_await socket_.async_wait(asio::socket_base::wait_write, kToken);
    if (code) co_return error(code, "write");
  }
}

Task<Result<void>> Stream::wait_readable() {
  auto [code] = co_await socket_.async_wait(asio::socket_base::wait_read, kToken);
  if (code) co_return error(code, "read");
  co_return Result<void>{};
}

Task<Result<void>> Stream::wait_writable() {
  auto [code] = co_await socket_.async_wait(asio::socket_base::wait_write, kToken);
  if (code) co_return error(code, "write");
  co_return Result<void>{};
}

Task<Result<void>> Stream::finish_connect(const Endpoint& destination) {
  pollfd ready{socket_.native_handle(), POLLOUT, 0};
  do {
    auto [code] = co_await socket_.async_wait(asio::socket_base::wait_write, kToken);
    if (code) co_return error(code, "connect");
    // Asio may hand over an event of the descriptor before, closed in the same turn: then there is no error and no
    // connection either.
  } while (::poll(&ready, 1, 0) == 0);
  int failure = 0;
  socklen_t size = sizeof failure;
  getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &failure, &size);
  if (failure != 0) co_return fail_errno(failure, "connect to " + destination.to_string(), side_);
  co_return Result<void>{};
}

namespace {

enum class Peeked { Bytes, Nothing, End };

Peeked peek(const asio::generic::stream_protocol::socket& socket) {
  char byte = 0;
  const int fd = const_cast<asio::generic::stream_protocol::socket&>(socket).native_handle();
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) return Peeked::Bytes;
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? Peeked::Nothing : Peeked::End;
}

}  // namespace

bool Stream::is_quiet() const {
  return socket_.is_open() && peek(socket_) == Peeked::Nothing;
}

bool Stream::has_ended() const {
  return !socket_.is_open() || peek(socket_) == Peeked::End;
}

uint64_t Stream::bytes_acknowledged() const {
  int waiting = 0;
  const int fd = const_cast<asio::generic::stream_protocol::socket&>(socket_).native_handle();
  if (::ioctl(fd, SIOCOUTQ, &waiting) != 0 || waiting < 0) return written_;
  return written_ - std::min(written_, static_cast<uint64_t>(waiting));
}

void Stream::shutdown_send() {
  std::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
}

void Stream::cancel() {
  std::error_code ignored;
  socket_.cancel(ignored);
}

void Stream::close() {
  std::error_code ignored;
  socket_.close(ignored);
}

void Stream::reset_on_close(bool on) {
  const linger option{on ? 1 : 0, 0};
  setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &option, sizeof option);
}

void Stream::abort() {
  if (!socket_.is_open()) return;
  if (pair_aborted_ != nullptr) *pair_aborted_ = true;
  reset_on_close(true);
  close();
}

UniqueFd Stream::release() {
  std::error_code error;
  const int fd = socket_.release(error);
  return error ? UniqueFd() : UniqueFd(fd);
}

Task<Result<void>> connect_within(Stream& stream, Endpoint destination, std::chrono::steady_clock::duration timeout) {
  sockaddr_storage address{};
  const socklen_t size = destination.to_sockaddr(address);
  const int fd = stream.native_handle();
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) co_return Result<void>{};
  if (errno != EINPROGRESS) co_return fail_errno(errno, "connect to " + destination.to_string(), Origin::Upstream);
  Deadline deadline(stream.executor(), [&stream] { stream.close(); });
  deadline.set(timeout);
  auto connected = co_await stream.finish_connect(destination);
  if (deadline.is_expired()) {
    co_return fail(Code::Timeout, "connect to " + destination.to_string() + " timed out", Origin::Upstream);
  }
  co_return connected;
}

}  // namespace tapdeck::net

// Test support: a blocking connection, clear or TLS, as clients and scripted origins of tests use it, and such an
// origin.
//
// Every wait ends after ten seconds with what came so far. Thread: one at a time each.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::server {

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslOwned = std::unique_ptr<SSL, SslFree>;
using SslContext = std::unique_ptr<SSL_CTX, SslFree>;

inline Endpoint local_endpoint(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size), 0);
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
}

// A listening socket on a port of the kernel's choice.
inline UniqueFd listen_on_loopback() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}

class Wire {
 public:
  explicit Wire(UniqueFd fd) : fd_(std::move(fd)) {
    const timeval limit{10, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const int on = 1;  // a second TLS record would wait 40 ms for the acknowledgement of the first
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  static Wire connect(const Endpoint& to) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = to.to_sockaddr(address);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    return Wire(std::move(fd));
  }

  // False: the handshake failed; error() is the peer's alert or our verdict.
  bool start_tls(SslOwned ssl) {
    ssl_ = std::move(ssl);
    SSL_set_fd(ssl_.get(), fd_.get());
    return SSL_do_handshake(ssl_.get()) == 1;
  }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }

  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                             : ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Everything up to and with `end`, or until the connection ends: then "<EOF>" or "<RST>" follows.
  std::string read_until(std::string_view end) {
    while (true) {
      const size_t at = end.empty() ? std::string::npos : seen_.find(end);
      if (at != std::string::npos) return take(at + end.size());
      if (!more()) return std::exchange(seen_, {}) + (reset_ ? "<RST>" : "<EOF>");
    }
  }
  std::string rest() { return read_until({}); }
  // What is there or comes next; empty: the connection ended.
  std::string read_some() {
    if (seen_.empty() && !more()) return {};
    return std::exchange(seen_, {});
  }
  std::string read_n(size_t n) {
    while (seen_.size() < n) {
      if (!more()) return std::exchange(seen_, {}) + (reset_ ? "<RST>" : "<EOF>");
    }
    return take(n);
  }
  void half_close() {
    if (ssl_) SSL_shutdown(ssl_.get());
    ::shutdown(fd_.get(), SHUT_WR);
  }
  void reset() {
    const linger hard{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ssl_.reset();
    fd_.reset();
  }
  void close() {
    if (fd_) half_close();
    ssl_.reset();
    fd_.reset();
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  bool more() {
    char buffer[65536];
    const ssize_t n = ssl_ ? SSL_read(ssl_.get(), buffer, sizeof buffer) : ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n > 0) seen_.append(buffer, static_cast<size_t>(n));
    if (n < 0) reset_ = true;
    return n > 0;
  }
  std::string take(size_t n) {
    std::string taken = seen_.substr(0, n);
    seen_.erase(0, n);
    return taken;
  }
  UniqueFd fd_;
  SslOwned ssl_;
  std::string seen_;
  bool reset_ = false;
};

// An origin that runs one script a connection, each in a thread of its own. stop(): nobody listens there any more.
class ScriptedOrigin {
 public:
  enum class End { Close, Reset };
  using Script = std::function<End(Wire&)>;
  // `context` null: clear text.
  explicit ScriptedOrigin(Script script, SSL_CTX* context = nullptr)
      : script_(std::move(script)),
        context_(context),
        listener_(listen_on_loopback()),
        endpoint_(local_endpoint(listener_.get())),
        acceptor_([this] { accept(); }) {}
  ~ScriptedOrigin() { stop(); }
  ScriptedOrigin(const ScriptedOrigin&) = delete;
  ScriptedOrigin& operator=(const ScriptedOrigin&) = delete;

  void stop() {
    if (!acceptor_.joinable()) return;
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    listener_.reset();
    {
      const std::scoped_lock lock(mutex_);
      for (Wire& wire : wires_) {
        if (wire.fd() >= 0) ::shutdown(wire.fd(), SHUT_RDWR);
      }
    }
    for (std::thread& thread : threads_) thread.join();
  }
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] size_t connections() const { return accepted_; }

 private:
  void accept() {
    while (true) {
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      ++accepted_;
      const std::scoped_lock lock(mutex_);
      Wire& wire = wires_.emplace_back(std::move(fd));
      threads_.emplace_back([this, &wire] {
        const End end = serve(wire);
        const std::scoped_lock closing(mutex_);  // stop() must not meet a descriptor that is somebody else's by now
        end == End::Reset ? wire.reset() : wire.close();
      });
    }
  }
  End serve(Wire& wire) {
    if (context_ != nullptr) {
      SslOwned ssl(SSL_new(context_));
      SSL_set_accept_state(ssl.get());
      if (!wire.start_tls(std::move(ssl))) return End::Close;
    }
    return script_(wire);
  }

  Script script_;
  SSL_CTX* context_;
  UniqueFd listener_;
  Endpoint endpoint_;
  std::mutex mutex_;
  std::list<Wire> wires_;
  std::list<std::thread> threads_;
  std::atomic<size_t> accepted_{0};
  std::thread acceptor_;
};

}  // namespace tapdeck::server

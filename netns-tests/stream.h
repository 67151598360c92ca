// Stream: one blocking TCP or TLS connection of a test peer, client or server side, with a deadline on every read.
// Errors end as "no more bytes": a test compares what arrived. Thread: one at a time.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/unique_fd.h"
#include "netns-tests/cert_authority.h"

typedef struct ssl_ctx_st SSL_CTX;  // NOLINT(modernize-use-using): as OpenSSL declares it
typedef struct ssl_st SSL;          // NOLINT(modernize-use-using)

namespace tapdeck::lab {

// What ALPN settles on: nothing, or HTTP/2 (a server: when it is offered).
enum class Alpn { None, H2 };

// A TLS configuration: server with a leaf, or client that trusts a CA file.
class TlsContext {
 public:
  static TlsContext server(const Leaf& leaf, Alpn alpn = Alpn::None);
  static TlsContext client(const std::filesystem::path& ca, Alpn alpn = Alpn::None);
  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

 private:
  explicit TlsContext(SSL_CTX* context) : context_(context, &free_context) {}
  static void free_context(SSL_CTX* context);
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
};

class Stream {
 public:
  explicit Stream(UniqueFd fd, std::chrono::milliseconds deadline = std::chrono::seconds(30));
  Stream(Stream&&) noexcept;
  ~Stream();

  // TLS handshakes; false with the reason in error().
  bool accept_tls(const TlsContext& context);
  bool connect_tls(const TlsContext& context, const std::string& server_name);

  bool send(std::string_view bytes);
  // What is there, at most 64 KiB; empty at the end of the stream, an error or the deadline.
  [[nodiscard]] std::string read_some();
  [[nodiscard]] std::string read_until(std::string_view delimiter);  // through the delimiter, or what came
  [[nodiscard]] std::string read_exactly(size_t bytes);
  [[nodiscard]] std::string read_to_end();
  // Why the last read gave nothing: 0 at an orderly end, ECONNRESET at a RST, EAGAIN at the deadline.
  [[nodiscard]] int read_errno() const { return read_errno_; }
  void half_close();  // close_notify or FIN; reading goes on
  void reset();       // RST
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  void begin_tls(const TlsContext& context);
  void note_error(const std::string& what);

  UniqueFd fd_;
  SSL* ssl_ = nullptr;
  std::string buffer_;  // read from the connection, not yet handed out
  std::string error_;
  int read_errno_ = 0;
};

}  // namespace tapdeck::lab

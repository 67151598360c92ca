#include "netns-tests/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <utility>

#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

namespace {
// OpenSSL writes without MSG_NOSIGNAL: a peer that left must be an error of one stream, not the end of the test.
[[maybe_unused]] const auto kIgnored = ::signal(SIGPIPE, SIG_IGN);

constexpr unsigned char kOnlyH2[] = {2, 'h', '2'};

int choose_h2(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* size, const unsigned char* offer,
              unsigned int offer_size, void* /*unused*/) {
  unsigned char* found = nullptr;
  const int how = SSL_select_next_proto(&found, size, kOnlyH2, sizeof kOnlyH2, offer, offer_size);
  *chosen = found;
  return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

void TlsContext::free_context(SSL_CTX* context) {
  SSL_CTX_free(context);
}

TlsContext TlsContext::server(const Leaf& leaf, Alpn alpn) {
  TlsContext made(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_chain_file(made.get(), leaf.certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(made.get(), leaf.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    raise("cannot load " + leaf.certificate.string());
  }
  if (alpn == Alpn::H2) SSL_CTX_set_alpn_select_cb(made.get(), &choose_h2, nullptr);
  return made;
}

TlsContext TlsContext::client(const std::filesystem::path& ca, Alpn alpn) {
  TlsContext made(SSL_CTX_new(TLS_client_method()));
  if (SSL_CTX_load_verify_locations(made.get(), ca.c_str(), nullptr) != 1) raise("cannot load " + ca.string());
  SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER, nullptr);
  if (alpn == Alpn::H2) SSL_CTX_set_alpn_protos(made.get(), kOnlyH2, sizeof kOnlyH2);
  return made;
}

Stream::Stream(UniqueFd fd, std::chrono::milliseconds deadline) : fd_(std::move(fd)) {
  const timeval time{deadline.count() / 1000, deadline.count() % 1000 * 1000};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

Stream::Stream(Stream&& other) noexcept
    : fd_(std::move(other.fd_)),
      ssl_(std::exchange(other.ssl_, nullptr)),
      buffer_(std::move(other.buffer_)),
      error_(std::move(other.error_)),
      read_errno_(other.read_errno_) {}

Stream::~Stream() {
  SSL_free(ssl_);
}

void Stream::note_error(const std::string& what) {
  const int number = errno;
  char text[256] = "";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  error_ = what + ": " + (text[0] != '\0' ? text : std::strerror(number));  // NOLINT(concurrency-mt-unsafe)
  ERR_clear_error();
}

void Stream::begin_tls(const TlsContext& context) {
  // What is sent behind a session ticket does not wait until the peer has acknowledged that.
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ssl_ = SSL_new(context.get());
  SSL_set_fd(ssl_, fd_.get());
}

bool Stream::accept_tls(const TlsContext& context) {
  begin_tls(context);
  if (SSL_accept(ssl_) == 1) return true;
  note_error("TLS accept");
  return false;
}

bool Stream::connect_tls(const TlsContext& context, const std::string& server_name) {
  begin_tls(context);
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), server_name.c_str()) != 1) {
    SSL_set_tlsext_host_name(ssl_, server_name.c_str());
    SSL_set1_host(ssl_, server_name.c_str());
  }
  ERR_clear_error();
  if (SSL_connect(ssl_) == 1) return true;
  note_error("TLS connect");
  return false;
}

bool Stream::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ssl_ != nullptr
                          ? SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), 1 << 20)))
                          : static_cast<int>(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    if (sent <= 0) {
      note_error("send");
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string Stream::read_some() {
  if (!buffer_.empty()) return std::exchange(buffer_, {});
  std::string bytes(65536, '\0');
  errno = 0;
  const auto got = ssl_ != nullptr ? SSL_read(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                   : static_cast<int>(::recv(fd_.get(), bytes.data(), bytes.size(), 0));
  const int number = errno;
  const bool clean_end = ssl_ != nullptr ? SSL_get_error(ssl_, got) == SSL_ERROR_ZERO_RETURN : got == 0;
  read_errno_ = got > 0 || clean_end ? 0 : number;
  if (got <= 0 && !clean_end) note_error("read");
  bytes.resize(static_cast<size_t>(std::max(got, 0)));
  return bytes;
}

std::string Stream::read_until(std::string_view delimiter) {
  std::string all;
  for (;;) {
    const auto at = all.find(delimiter);
    if (at != std::string::npos) {
      buffer_ = all.substr(at + delimiter.size());
      all.resize(at + delimiter.size());
      return all;
    }
    const auto piece = read_some();
    if (piece.empty()) return all;
    all += piece;
  }
}

std::string Stream::read_exactly(size_t bytes) {
  std::string all = std::exchange(buffer_, {});
  while (all.size() < bytes) {
    const auto piece = read_some();
    if (piece.empty()) return all;
    all += piece;
  }
  buffer_ = all.substr(bytes);
  all.resize(bytes);
  return all;
}

std::string Stream::read_to_end() {
  std::string all;
  for (auto piece = read_some(); !piece.empty(); piece = read_some()) all += piece;
  return all;
}

void Stream::half_close() {
  if (ssl_ != nullptr) SSL_shutdown(ssl_);
  ::shutdown(fd_.get(), SHUT_WR);
}

void Stream::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

}  // namespace tapdeck::lab

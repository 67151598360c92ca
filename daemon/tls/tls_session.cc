#include "daemon/tls/tls_session.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "daemon/tls/openssl_util.h"
#include "daemon/tls/peer_report.h"
#include "daemon/tls/session_callbacks.h"

namespace tapdeck::tls {

namespace {

// Each part with its length, so that no two combinations share an id. 32 bytes = OpenSSL's limit for a context id.
Result<std::array<unsigned char, 32>> resumption_scope(const ServerSetup& setup) {
  std::string text;
  for (const std::string* part : {&setup.server_name, &setup.alpn, &setup.policy, &setup.credential->scope()}) {
    text += std::to_string(part->size());
    text += ':';
    text += *part;
  }
  std::array<unsigned char, 32> digest{};
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, text.data(), text.size(), digest.data(), nullptr) != 1) {
    return openssl_failure("TLS session scope");
  }
  return digest;
}

// RFC 7301 wire format; nullopt when an id is empty or longer than 255 bytes.
std::optional<std::string> alpn_wire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) return std::nullopt;
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  return wire;
}

// A resumption shows no certificate: one that ran out since would never be noticed, and never mirrored.
bool still_in_date(SSL_SESSION* session) {
  const X509* leaf = SSL_SESSION_get0_peer(session);
  return leaf != nullptr && X509_cmp_current_time(X509_get0_notAfter(leaf)) > 0;
}

}  // namespace

TlsSession::TlsSession(Role role) : role_(role) {}

TlsSession::~TlsSession() {
  // Without this, freeing a connection that did not end with close_notify both ways marks its session as not resumable.
  if (ssl_ && state_ != State::Failed) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

Result<void> TlsSession::attach_bios() {
  BIO* bio = ssl_ ? SessionCallbacks::make_bio(this) : nullptr;
  if (bio == nullptr) return openssl_failure("TLS session");
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  return {};
}

Result<std::unique_ptr<TlsSession>> TlsSession::accept(ServerSetup setup) {
  if (setup.context == nullptr || setup.credential == nullptr) {
    return fail(Code::InvalidArgument, "a TLS server session needs a context and a credential");
  }
  forget_errors();
  std::unique_ptr<TlsSession> made(new TlsSession(Role::Server));
  made->ssl_.reset(SSL_new(setup.context->get()));
  TRY_VOID(made->attach_bios());
  TRY_VOID(made->configure(setup));
  return made;
}

Result<void> TlsSession::configure(ServerSetup& setup) {
  SSL* ssl = ssl_.get();
  credential_ = std::move(setup.credential);
  setup.credential = credential_;
  TRY(scope, resumption_scope(setup));
  server_alpn_ = std::move(setup.alpn);
  SSL_set_accept_state(ssl);
  if (SSL_use_cert_and_key(ssl, credential_->certificate(), credential_->key(), credential_->chain(), 1) != 1 ||
      SSL_set_session_id_context(ssl, scope.data(), scope.size()) != 1) {
    return openssl_failure("TLS server session");
  }
  return {};
}

Result<std::unique_ptr<TlsSession>> TlsSession::connect(ClientSetup setup) {
  if (setup.trust == nullptr) return fail(Code::InvalidArgument, "a TLS client session needs roots to trust");
  forget_errors();
  std::unique_ptr<TlsSession> made(new TlsSession(Role::Client));
  made->ssl_.reset(SSL_new(setup.trust->get()));
  TRY_VOID(made->attach_bios());
  TRY_VOID(made->configure(setup));
  return made;
}

Result<void> TlsSession::configure(ClientSetup& setup) {
  SSL* ssl = ssl_.get();
  std::string name = setup.server_name.empty() ? setup.address : setup.server_name;
  if (name.ends_with('.')) name.pop_back();
  // An IPv6 zone names an interface of ours and is in no certificate.
  if (const size_t zone = name.find('%'); zone != std::string::npos) name.resize(zone);
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
  SSL_set_connect_state(ssl);
  if (!address_bytes(name).empty()) {
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) != 1) return openssl_failure("TLS client session");
  } else if (is_dns_name(name)) {
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_host(parameters, name.data(), name.size()) != 1 ||
        SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
      return openssl_failure("TLS client session");
    }
  } else {
    return fail(Code::InvalidArgument, "neither a host name nor an address to verify an upstream by");
  }
  const std::optional<std::string> wire = alpn_wire(setup.alpn);
  if (!wire) return fail(Code::InvalidArgument, "an ALPN protocol id has 1 to 255 bytes");
  // This one call answers 0 for success.
  if (!wire->empty() && SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire->data()),
                                            static_cast<unsigned int>(wire->size())) != 0) {
    return openssl_failure("TLS client session");
  }
  cache_ = setup.cache_key.empty() ? nullptr : setup.cache;
  cache_key_ = std::move(setup.cache_key);
  if (cache_ != nullptr && setup.resume == Resume::Yes) {
    // A session that OpenSSL does not want any more only costs the resumption.
    const SslSessionPtr session = cache_->take(cache_key_);
    if (session && still_in_date(session.get())) SSL_set_session(ssl, session.get());
    forget_errors();
  }
  return {};
}

std::unexpected<Error> TlsSession::fail_with(int ssl_result, std::string_view what) {
  const bool refused = role_ == Role::Client && report_ && report_->failure != VerifyFailure::None;
  const int kind = SSL_get_error(ssl_.get(), ssl_result);
  const std::string reason =
      drain_errors(kind == SSL_ERROR_SYSCALL ? "the peer closed without a reason" : "no reason given");
  if (state_ == State::Handshaking && kind == SSL_ERROR_ZERO_RETURN) {
    const auto ended = end_of_input();  // close_notify: no failure of TLS
    return std::unexpected(ended.error());
  }
  Error error{refused ? Code::TlsVerify : Code::Tls, std::string(what) + ": ", origin(), Retry::No, 0};
  error.detail += refused ? report_->detail : reason;
  state_ = State::Failed;
  failure_ = error;
  return std::unexpected(std::move(error));
}

Result<bool> TlsSession::do_handshake() {
  forget_errors();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) {
    const int kind = SSL_get_error(ssl_.get(), result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return false;
    return fail_with(result, "TLS handshake");
  }
  state_ = State::Open;
  if (role_ == Role::Client && !report_) {
    // Resumed: the certificate was verified when the session was made, else it would not be in the cache.
    if (X509* leaf = SSL_get0_peer_certificate(ssl_.get())) describe_leaf(leaf, report_.emplace());
  }
  return true;
}

Result<bool> TlsSession::advance(ByteQueue& plain_out, size_t max_plain) {
  if (state_ == State::Failed) return std::unexpected(*failure_);
  if (state_ == State::Handshaking) {
    TRY(done, do_handshake());
    if (!done) return false;
  }
  SSL* ssl = ssl_.get();
  size_t added = 0;
  while (state_ == State::Open && (!cipher_in_.empty() || SSL_has_pending(ssl) == 1)) {
    if (added >= max_plain) return true;
    const std::span<char> space = plain_out.reserve();
    const size_t wanted = std::min(space.size(), max_plain - added);
    size_t got = 0;
    forget_errors();
    const int result = SSL_read_ex(ssl, space.data(), wanted, &got);
    plain_out.commit(got);
    added += got;
    if (result == 1) continue;
    // The empty chunk just reserved goes back: an idle connection holds none.
    if (plain_out.empty()) plain_out.clear();
    const int kind = SSL_get_error(ssl, result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return false;
    if (kind != SSL_ERROR_ZERO_RETURN) return fail_with(result, "TLS record");
    state_ = sent_close_ ? State::Closed : State::PeerClosed;
  }
  return false;
}

Result<void> TlsSession::end_of_input() {
  if (state_ == State::Failed) return std::unexpected(*failure_);
  if (state_ == State::Handshaking) {
    Error error{Code::Truncated, "the peer closed during the TLS handshake", origin(), Retry::No, 0};
    state_ = State::Failed;
    failure_ = error;
    return std::unexpected(std::move(error));
  }
  if (state_ == State::Open) {
    cut_off_ = true;
    state_ = sent_close_ ? State::Closed : State::PeerClosed;
  }
  if (!cut_off_) return {};
  return fail(Code::Truncated, "the peer closed without close_notify", origin());
}

Result<void> TlsSession::write_some(std::string_view plain) {
  size_t written = 0;
  forget_errors();
  const int result = SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written);
  // The write BIO takes everything, so there is no partial write and no retry.
  if (result != 1 || written != plain.size()) return fail_with(result, "TLS record");
  return {};
}

Result<void> TlsSession::encrypt(std::string_view plain) {
  if (state_ == State::Failed) return std::unexpected(*failure_);
  if ((state_ != State::Open && state_ != State::PeerClosed) || sent_close_) {
    return fail(Code::InvalidArgument, "encrypt on a TLS session that is not open", origin());
  }
  if (plain.empty()) return {};
  return write_some(plain);
}

Result<size_t> TlsSession::encrypt(ByteQueue& plain, size_t limit) {
  size_t done = 0;
  while (done < limit && !plain.empty()) {
    const std::string_view piece = plain.front().substr(0, limit - done);
    TRY_VOID(encrypt(piece));
    done += piece.size();
    plain.consume(piece.size());
  }
  return done;
}

void TlsSession::close_notify() {
  if (sent_close_ || state_ == State::Handshaking || state_ == State::Failed) return;
  forget_errors();
  SSL_shutdown(ssl_.get());
  forget_errors();
  sent_close_ = true;
  if (state_ == State::PeerClosed) state_ = State::Closed;
}

std::string_view TlsSession::alpn() const {
  const unsigned char* data = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

uint16_t TlsSession::version() const {
  return static_cast<uint16_t>(SSL_version(ssl_.get()));
}

std::string_view TlsSession::cipher() const {
  return SSL_get_cipher_name(ssl_.get());
}

bool TlsSession::resumed() const {
  return SSL_session_reused(ssl_.get()) == 1;
}

bool TlsSession::awaits_judgement() const {
  const bool is_open = state_ == State::Open || state_ == State::PeerClosed || state_ == State::Closed;
  return role_ == Role::Server && !is_open && sent_certificate_ && !went_on_ && !peer_alert_;
}

bool TlsSession::peer_rejected_certificate() const {
  if (role_ != Role::Server || !peer_alert_) return false;
  switch (*peer_alert_) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
      return true;
    default:
      return false;
  }
}

}  // namespace tapdeck::tls

#include "daemon/tls/client_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "daemon/tls/openssl_util.h"
#include "daemon/tls/session_callbacks.h"

namespace tapdeck::tls {

namespace {

using File = Owned<std::FILE, std::fclose>;

// Every certificate of a PEM file into the store. Text around the blocks is allowed, as everywhere.
Result<void> load_pem_file(X509_STORE* store, const std::string& path) {
  const File file(std::fopen(path.c_str(), "re"));
  if (!file) return fail_errno(errno, "upstream CA file " + path);
  for (int number = 1;; ++number) {
    const CertPtr certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
      const unsigned long error = ERR_peek_last_error();
      const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
      const std::string reason = drain_errors();
      if (at_end && number > 1) return {};
      if (at_end) return fail(Code::InvalidConfig, "upstream CA file " + path + ": no PEM certificate in it");
      return fail(Code::InvalidConfig,
                  "upstream CA file " + path + ": certificate " + std::to_string(number) + ": " + reason);
    }
    if (X509_STORE_add_cert(store, certificate.get()) != 1) return openssl_failure("upstream CA file " + path);
  }
}

// One bundle file, read now, rather than the hashed folder, which would be read from disk during handshakes. Debian has
// no file at OpenSSL's built-in default path, so the usual places of the distributions follow.
void load_system_roots(X509_STORE* store) {
  const char* from_environment = std::getenv("SSL_CERT_FILE");
  const char* const candidates[] = {
      from_environment,
      X509_get_default_cert_file(),
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/ssl/ca-bundle.pem",
      "/etc/ssl/cert.pem",
  };
  for (const char* path : candidates) {
    if (path != nullptr && X509_STORE_load_file(store, path) == 1) return;
    ERR_clear_error();
  }
  X509_STORE_set_default_paths(store);
  ERR_clear_error();
}

}  // namespace

UpstreamTrust::UpstreamTrust() = default;
UpstreamTrust::~UpstreamTrust() = default;

Result<std::unique_ptr<UpstreamTrust>> UpstreamTrust::create(SystemRoots system_roots,
                                                             const std::vector<std::string>& extra_ca) {
  std::unique_ptr<UpstreamTrust> made(new UpstreamTrust);
  made->context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = made->context_.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
    return openssl_failure("TLS client context");
  }
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  if (system_roots == SystemRoots::Use) load_system_roots(store);
  for (const std::string& path : extra_ca) TRY_VOID(load_pem_file(store, path));
  // A pinned intermediate or server certificate is an anchor too: OpenSSL 3.0 does not backtrack, so stopping at the
  // first trusted certificate also finds paths it would otherwise miss.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SessionCallbacks::install_client(context);
  return made;
}

ClientSessionCache::ClientSessionCache(size_t capacity) : capacity_(capacity == 0 ? 1 : capacity) {}
ClientSessionCache::~ClientSessionCache() = default;

void ClientSessionCache::clear() {
  entries_.clear();
  order_.clear();
}

void ClientSessionCache::put(std::string_view key, SslSessionPtr session) {
  if (const auto found = entries_.find(key); found != entries_.end()) {
    found->second->session = std::move(session);
    order_.splice(order_.begin(), order_, found->second);
    return;
  }
  order_.push_front(Entry{std::string(key), std::move(session)});
  entries_.emplace(order_.front().key, order_.begin());
  if (entries_.size() > capacity_) {
    entries_.erase(order_.back().key);
    order_.pop_back();
  }
}

SslSessionPtr ClientSessionCache::take(std::string_view key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  const auto entry = found->second;
  // Before 1.3 a session may be resumed any number of times, and servers need not send a new ticket.
  if (SSL_SESSION_get_protocol_version(entry->session.get()) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(entry->session.get());
    order_.splice(order_.begin(), order_, entry);
    return SslSessionPtr(entry->session.get());
  }
  SslSessionPtr session = std::move(entry->session);
  entries_.erase(found);
  order_.erase(entry);
  return session;
}

}  // namespace tapdeck::tls

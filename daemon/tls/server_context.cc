#include "daemon/tls/server_context.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <array>
#include <cstring>
#include <mutex>
#include <optional>

#include "daemon/tls/openssl_util.h"
#include "daemon/tls/session_callbacks.h"

namespace tapdeck::tls {

namespace {

struct TicketKey {
  std::array<unsigned char, 16> name;
  std::array<unsigned char, 32> aes;
  std::array<unsigned char, 32> hmac;
  Time made{};
};

}  // namespace

struct ServerContext::TicketKeys {
  std::mutex lock;
  Clock clock;
  std::chrono::hours rotation;
  TicketKey current{};
  std::optional<TicketKey> previous;
  // Fetched once: an implicit fetch a handshake costs a lookup under a lock.
  Owned<EVP_CIPHER, EVP_CIPHER_free> aes;

  ~TicketKeys() {
    OPENSSL_cleanse(&current, sizeof(current));
    if (previous) OPENSSL_cleanse(&*previous, sizeof(*previous));
  }

  [[nodiscard]] static bool generate(TicketKey& key, Time now) {
    key.made = now;
    return RAND_bytes(key.name.data(), 16) == 1 && RAND_priv_bytes(key.aes.data(), 32) == 1 &&
           RAND_priv_bytes(key.hmac.data(), 32) == 1;
  }

  // Under the lock. False when no random bytes could be had.
  [[nodiscard]] bool rotate(Time now) {
    const auto age = now - current.made;
    if (age >= rotation || age < std::chrono::seconds(0)) {
      TicketKey next{};
      if (!generate(next, now)) return false;
      previous = current;
      current = next;
    }
    // The previous key ends two periods after it was made, also when nobody came by in between.
    if (previous && now - previous->made >= 2 * rotation) previous.reset();
    return true;
  }
};

struct ServerContextCallbacks {
  // RFC 5077 ticket protection: AES-256-CBC and HMAC-SHA-256. Returns as SSL_CTX_set_tlsext_ticket_key_evp_cb says:
  // 1 use, 2 use and renew, 0 unknown key (full handshake), -1 failure.
  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                        int encrypt) {
    auto& keys = *static_cast<ServerContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->keys_;
    TicketKey key{};
    int verdict = 1;
    {
      const std::lock_guard guard(keys.lock);
      if (!keys.rotate(keys.clock())) return -1;
      if (encrypt == 1 || std::memcmp(name, keys.current.name.data(), 16) == 0) {
        key = keys.current;
        // A 1.3 client uses a ticket once (RFC 8446 appendix C.4): without a new one, every second handshake is full.
        if (encrypt != 1 && SSL_version(ssl) == TLS1_3_VERSION) verdict = 2;
      } else if (keys.previous && std::memcmp(name, keys.previous->name.data(), 16) == 0) {
        key = *keys.previous;
        verdict = 2;
      } else {
        return 0;
      }
    }
    const bool ok = apply(key, keys.aes.get(), name, iv, cipher, mac, encrypt);
    OPENSSL_cleanse(&key, sizeof(key));
    return ok ? verdict : -1;
  }

 private:
  static bool apply(TicketKey& key, const EVP_CIPHER* aes, unsigned char* name, unsigned char* iv,
                    EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) {
    if (encrypt == 1) {
      std::memcpy(name, key.name.data(), 16);
      if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1) return false;
    }
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac.data(), key.hmac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, aes, nullptr, key.aes.data(), iv, encrypt) == 1 &&
           EVP_MAC_CTX_set_params(mac, parameters) == 1;
  }
};

ServerContext::ServerContext() : keys_(std::make_unique<TicketKeys>()) {}
ServerContext::~ServerContext() = default;

Result<std::unique_ptr<ServerContext>> ServerContext::create(const ServerContextOptions& options) {
  std::unique_ptr<ServerContext> made(new ServerContext);
  TicketKeys& keys = *made->keys_;
  keys.clock = options.clock;
  keys.rotation = options.ticket_rotation;
  keys.aes.reset(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr));
  made->context_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* context = made->context_.get();
  if (context == nullptr || !keys.aes || !TicketKeys::generate(keys.current, options.clock())) {
    return openssl_failure("TLS server context");
  }
  SSL_CTX_set_app_data(context, made.get());
  const long lifetime = std::chrono::seconds(options.ticket_rotation).count();
  const bool ok = SSL_CTX_set_min_proto_version(context, static_cast<int>(options.min_version)) == 1 &&
                  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ServerContextCallbacks::ticket_key) == 1 &&
                  // One ticket a full handshake: clients use one connection's ticket for the next connection.
                  SSL_CTX_set_num_tickets(context, 1) == 1;
  if (!ok) return openssl_failure("TLS server context");
  SSL_CTX_set_timeout(context, lifetime);
  // Tickets only: a server-side session cache would be a lock and memory that many clients never use.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SessionCallbacks::install_server(context);
  return made;
}

}  // namespace tapdeck::tls

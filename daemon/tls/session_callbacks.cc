#include "daemon/tls/session_callbacks.h"

#include <algorithm>
#include <cstring>

#include "daemon/tls/peer_report.h"
#include "daemon/tls/tls_session.h"

namespace tapdeck::tls {

namespace {

BIO_METHOD* make_method(int (*read)(BIO*, char*, int), int (*write)(BIO*, const char*, int),
                        long (*control)(BIO*, int, long, void*)) {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tapdeck byte queues");
  if (method == nullptr) return nullptr;
  BIO_meth_set_read(method, read);
  BIO_meth_set_write(method, write);
  BIO_meth_set_ctrl(method, control);
  return method;
}

}  // namespace

BIO* SessionCallbacks::make_bio(TlsSession* session) {
  static BIO_METHOD* const method = make_method(bio_read, bio_write, bio_control);
  BIO* bio = method != nullptr ? BIO_new(method) : nullptr;
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, session);
  BIO_set_init(bio, 1);
  return bio;
}

int SessionCallbacks::bio_read(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  ByteQueue& in = static_cast<TlsSession*>(BIO_get_data(bio))->cipher_in_;
  if (size <= 0) return 0;
  const size_t wanted = std::min(static_cast<size_t>(size), in.size());
  if (wanted == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  for (size_t done = 0; done < wanted;) {
    const std::string_view piece = in.front().substr(0, wanted - done);
    std::memcpy(out + done, piece.data(), piece.size());
    done += piece.size();
    in.consume(piece.size());
  }
  return static_cast<int>(wanted);
}

int SessionCallbacks::bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  static_cast<TlsSession*>(BIO_get_data(bio))->cipher_out_.append({data, static_cast<size_t>(size)});
  return size;
}

long SessionCallbacks::bio_control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void SessionCallbacks::on_info(const SSL* ssl, int where, int value) {
  TlsSession& session = session_of(ssl);
  if ((where & SSL_CB_LOOP) != 0) {
    const OSSL_HANDSHAKE_STATE step = SSL_get_state(ssl);
    if (step == TLS_ST_SW_CERT) session.sent_certificate_ = true;
    if (step == TLS_ST_SR_KEY_EXCH) session.went_on_ = true;
  }
  if ((where & SSL_CB_ALERT) == 0) return;
  // Upper byte: level (2 = fatal); lower: description. close_notify and user_canceled are warnings.
  const auto description = static_cast<uint8_t>(value & 0xff);
  if ((where & SSL_CB_WRITE) != 0 && description == SSL_AD_NO_RENEGOTIATION) session.refused_renegotiation_ = true;
  if ((where & SSL_CB_READ) != 0 && (value >> 8) == SSL3_AL_FATAL) session.peer_alert_ = description;
}

int SessionCallbacks::on_server_name(SSL* /*ssl*/, int* /*alert*/, void* /*argument*/) {
  // The owner chose the credential from the peeked hello; here it is only acknowledged.
  return SSL_TLSEXT_ERR_OK;
}

int SessionCallbacks::on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                              const unsigned char* offered, unsigned int offered_size, void* /*argument*/) {
  const std::string& wanted = session_of(ssl).server_alpn_;
  if (wanted.empty()) return SSL_TLSEXT_ERR_NOACK;
  for (unsigned int at = 0; at < offered_size;) {
    const unsigned char size = offered[at];
    if (size > offered_size - at - 1) break;
    if (wanted == std::string_view(reinterpret_cast<const char*>(offered) + at + 1, size)) {
      *out = offered + at + 1;
      *out_size = size;
      return SSL_TLSEXT_ERR_OK;
    }
    at += size + 1U;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

int SessionCallbacks::on_verify(X509_STORE_CTX* chain, void* /*argument*/) {
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  return verify_chain(chain, session_of(ssl).report_.emplace()) ? 1 : 0;
}

int SessionCallbacks::on_client_certificate(SSL* ssl, X509** /*certificate*/, EVP_PKEY** /*key*/) {
  session_of(ssl).certificate_requested_ = true;
  return 0;
}

int SessionCallbacks::on_new_session(SSL* ssl, SSL_SESSION* session) {
  TlsSession& owner = session_of(ssl);
  // Resumed, a session without a client certificate would stay one, and the server would not ask again.
  const bool is_wanted = owner.cache_ != nullptr && owner.state_ != TlsSession::State::Failed &&
                         !owner.certificate_requested_ && SSL_SESSION_is_resumable(session) == 1;
  if (!is_wanted) return 0;
  owner.cache_->put(owner.cache_key_, SslSessionPtr(session));
  return 1;  // the reference is ours now
}

void SessionCallbacks::install_server(SSL_CTX* context) {
  SSL_CTX_set_info_callback(context, on_info);
  SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
}

void SessionCallbacks::install_client(SSL_CTX* context) {
  SSL_CTX_set_info_callback(context, on_info);
  SSL_CTX_set_cert_verify_callback(context, on_verify, nullptr);
  SSL_CTX_set_client_cert_cb(context, on_client_certificate);
  SSL_CTX_sess_set_new_cb(context, on_new_session);
}

}  // namespace tapdeck::tls

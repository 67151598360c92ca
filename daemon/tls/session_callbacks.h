// Private to daemon/tls: the functions that OpenSSL calls back while a TlsSession works. Each finds its session in the
// SSL object's application data. Installed once per context; thread: the session's.
#pragma once

#include <openssl/ssl.h>

namespace tapdeck::tls {

class TlsSession;

struct SessionCallbacks {
  static void install_server(SSL_CTX* context);
  static void install_client(SSL_CTX* context);
  // The BIO that reads cipher_in() and writes cipher_out(); null when out of memory.
  static BIO* make_bio(TlsSession* session);

 private:
  static TlsSession& session_of(const SSL* ssl) { return *static_cast<TlsSession*>(SSL_get_app_data(ssl)); }
  static int bio_read(BIO* bio, char* out, int size);
  static int bio_write(BIO* bio, const char* data, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static void on_info(const SSL* ssl, int where, int value);
  static int on_server_name(SSL* ssl, int* alert, void* argument);
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                     unsigned int offered_size, void* argument);
  static int on_verify(X509_STORE_CTX* chain, void* argument);
  static int on_client_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key);
  static int on_new_session(SSL* ssl, SSL_SESSION* session);
};

}  // namespace tapdeck::tls

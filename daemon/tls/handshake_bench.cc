// How long handshakes, mints and records take on one core, without sockets:
//   build it by hand: clang++-19 -std=c++23 -O2 -I. daemon/tls/handshake_bench.cc <libtapdeck_tls.a libtapdeck_base.a>
//   -lssl -lcrypto
// The client half of a handshake is part of the figure; `baseline` is the same through OpenSSL's own memory BIOs with a
// ready SSL_CTX for the one certificate, which is what a web server does.
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/server_context.h"
#include "daemon/tls/tls_session.h"

namespace {

using namespace tapdeck;
using namespace tapdeck::tls;

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().detail.c_str());
    std::exit(1);
  }
  return std::move(*result);
}

template <class F>
double seconds_of(int count, F&& once) {
  // Processor time: the neighbours' load does not count.
  const std::clock_t begin = std::clock();
  for (int i = 0; i < count; ++i) once();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

SSL_CTX* make_client() {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  return context;
}

void carry(BIO* from, ByteQueue& to) {
  char buffer[16384];
  for (int n = 0; (n = BIO_read(from, buffer, sizeof(buffer))) > 0;) to.append({buffer, static_cast<size_t>(n)});
}

void carry(ByteQueue& from, BIO* to) {
  while (!from.empty()) {
    const std::string_view piece = from.front();
    BIO_write(to, piece.data(), static_cast<int>(piece.size()));
    from.consume(piece.size());
  }
}

void carry(BIO* from, BIO* to) {
  char buffer[16384];
  for (int n = 0; (n = BIO_read(from, buffer, sizeof(buffer))) > 0;) BIO_write(to, buffer, n);
}

SSL* memory_peer(SSL_CTX* context) {
  SSL* ssl = SSL_new(context);
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  return ssl;
}

}  // namespace

int main() {
  const auto ca = must(CertificateAuthority::create_in_memory({}));
  const auto untrusted = must(CertificateAuthority::create_untrusted());
  const auto context = must(ServerContext::create());
  LeafCache leaves(*ca, *untrusted);
  SSL_CTX* client_context = make_client();
  const auto credential = must(leaves.get(leaf_for("bench.test")));
  SSL_CTX* plain = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(plain, credential->certificate());
  SSL_CTX_use_PrivateKey(plain, credential->key());

  const auto ours = [&] {
    SSL* client = memory_peer(client_context);
    SSL_set_tlsext_host_name(client, "bench.test");
    auto server = must(
        TlsSession::accept({context.get(), must(leaves.get(leaf_for("bench.test"))), "bench.test", "http/1.1", ""}));
    ByteQueue got;
    while (server->is_handshaking()) {
      SSL_connect(client);
      carry(SSL_get_wbio(client), server->cipher_in());
      must(server->advance(got));
      carry(server->cipher_out(), SSL_get_rbio(client));
    }
    SSL_free(client);
  };
  const auto baseline = [&] {
    SSL* client = memory_peer(client_context);
    SSL_set_tlsext_host_name(client, "bench.test");
    SSL* server = memory_peer(plain);
    while (SSL_is_init_finished(server) == 0) {
      SSL_connect(client);
      carry(SSL_get_wbio(client), SSL_get_rbio(server));
      SSL_accept(server);
      carry(SSL_get_wbio(server), SSL_get_rbio(client));
    }
    SSL_free(server);
    SSL_free(client);
  };
  for (int round = 0; round < 9; ++round) {
    const double a = seconds_of(1000, baseline) * 1000;
    const double b = seconds_of(1000, ours) * 1000;
    std::printf("full handshake, both halves: baseline %.1f us, ours %.1f us, ratio %.3f\n", a, b, a / b);
  }
  int number = 0;
  const double minted = seconds_of(1000, [&] { must(leaves.get(leaf_for("h" + std::to_string(++number) + ".test"))); });
  std::printf("mint: %.1f us\n", minted * 1000);

  auto trust = must(UpstreamTrust::create(SystemRoots::Ignore, {}));
  SSL_CTX_set_verify(trust->get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_cert_verify_callback(trust->get(), nullptr, nullptr);
  auto client = must(TlsSession::connect({trust.get(), "bench.test", "", {}, nullptr, ""}));
  auto server = must(TlsSession::accept({context.get(), credential, "bench.test", "", ""}));
  ByteQueue got;
  while (client->is_handshaking() || server->is_handshaking()) {
    must(client->advance(got));
    server->cipher_in().append(std::move(client->cipher_out()));
    must(server->advance(got));
    client->cipher_in().append(std::move(server->cipher_out()));
  }
  const std::string block(16384, 'x');
  const double bulk = seconds_of(20000, [&] {
    if (!server->encrypt(block)) std::exit(1);
    client->cipher_in().append(std::move(server->cipher_out()));
    must(client->advance(got));
    got.clear();
  });
  std::printf("records of 16 KiB, encrypted and decrypted: %.0f MB/s\n", 20000 * 16384 / bulk / 1e6);
  SSL_CTX_free(plain);
  SSL_CTX_free(client_context);
  return 0;
}

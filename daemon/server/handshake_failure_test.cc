// Handshakes of clients that come to nothing, and what is made of them.
#include "daemon/server/handshake_failure.h"

#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

// Makes a client stop where it would judge the certificate it was shown: it has sent no word of it yet.
void pause_at_certificate(SSL* ssl) {
  SSL_CTX_set_cert_verify_callback(
      SSL_get_SSL_CTX(ssl),
      [](X509_STORE_CTX* chain, void*) -> int {
        auto* paused = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
        return SSL_set_retry_verify(paused);
      },
      nullptr);
}

struct HandshakeFailure : testing::Test {
  WorkerRig rig;
  SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin{http_origin([](const std::string&) { return with_length("good"); }), context.get()};

  HandshakeFailure() { rig.go_to(origin.endpoint()); }
  [[nodiscard]] Wire shown_the_certificate(int version) {
    Wire wire = rig.connect();
    SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
    SSL_set_max_proto_version(ssl.get(), version);
    pause_at_certificate(ssl.get());
    EXPECT_FALSE(wire.start_tls(std::move(ssl)));
    EXPECT_EQ(SSL_get_error(wire.ssl(), -1), SSL_ERROR_WANT_RETRY_VERIFY);
    return wire;
  }
  [[nodiscard]] uint64_t failed() {
    return rig.count(Counter::TlsDownError) + rig.count(Counter::TlsDownLeft) + rig.count(Counter::TlsDownNoAgreement) +
           rig.count(Counter::TlsDownRejectedCa);
  }
};

// Java's HttpClient closes so when it does not trust the issuer.
TEST_F(HandshakeFailure, ClientThatClosesAtOurCertificateWithoutAnAlertIsCountedAsNotTrustingIt) {
  uint64_t count = 0;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    shown_the_certificate(version).close();
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownLeft) == count + 1; }));
    shown_the_certificate(version).reset();
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownLeft) == count + 2; }));
    count += 2;
  }
  EXPECT_EQ(failed(), count);
}

// Downloaders open more connections than they turn out to need.
TEST_F(HandshakeFailure, ClientThatHasTakenOurCertificateAndDropsAConnectionIsNotHeldToDistrustIt) {
  rig.connect_tls().close();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) shown_the_certificate(version).reset();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownError) == 2; }));
  EXPECT_EQ(failed(), 2U);
}

TEST_F(HandshakeFailure, ClientThatTakesOurCertificateLaterHasNotRefusedIt) {
  shown_the_certificate(TLS1_3_VERSION).close();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownLeft) == 1; }));
  EXPECT_EQ(rig.judgements.taken_back(), 0U);
  SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
  SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(ssl.get()), nullptr, nullptr);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.start_tls(std::move(ssl)));
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.judgements.taken_back() == 1; }));
}

TEST_F(HandshakeFailure, ClientThatAgreesOnNothingIsCounted) {
  Wire wire = rig.connect();
  SslOwned rsa = rig.client_ssl(WorkerRig::Trust::OurCa);
  SSL_set_max_proto_version(rsa.get(), TLS1_2_VERSION);
  SSL_set_cipher_list(rsa.get(), "ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_FALSE(wire.start_tls(std::move(rsa)));
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownNoAgreement) == 1; }));
  Wire old = rig.connect();
  SslOwned old_ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
  SSL_set_min_proto_version(old_ssl.get(), TLS1_1_VERSION);
  SSL_set_max_proto_version(old_ssl.get(), TLS1_1_VERSION);
  SSL_set_cipher_list(old_ssl.get(), "ALL:@SECLEVEL=0");
  EXPECT_FALSE(old.start_tls(std::move(old_ssl)));
  old.close();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownNoAgreement) == 2; }));
  EXPECT_EQ(failed(), 2U);
}

// It gave up waiting for an origin that is slow, and has not seen any certificate.
TEST(HandshakeFailures, ClientThatLeftWhileItsOriginWasDialledSaysNothingOfOurCertificate) {
  WorkerRig rig;
  std::atomic<bool> may_go{false};
  ScriptedOrigin origin([&](Wire&) {
    EXPECT_TRUE(eventually([&] { return may_go.load(); }));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  SSL_do_handshake(ssl.get());
  char* hello = nullptr;
  const long size = BIO_get_mem_data(out, &hello);
  wire.write({hello, static_cast<size_t>(size)});
  EXPECT_TRUE(eventually([&] { return origin.connections() == 1; }));
  wire.close();
  may_go = true;
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownError) == 1; }));
  EXPECT_EQ(rig.count(Counter::TlsDownLeft), 0U);
}

}  // namespace
}  // namespace tapdeck::server

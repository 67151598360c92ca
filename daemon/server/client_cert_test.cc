// Origins that ask for a client certificate: only the client can answer, so it speaks to them itself.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

// Clients with a certificate, one after the other: the origin knows each of them, since it speaks to them itself.
void expect_known(WorkerRig& rig, unsigned clients) {
  const tls::Leaf own = tls::testing::must(tls::mint(*rig.origin_ca, tls::leaf_for("client.test")));
  for (unsigned i = 0; i < clients; ++i) {
    Wire client = rig.connect();
    SslOwned ssl = rig.client_ssl(WorkerRig::Trust::Nobody);
    SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);
    SSL_use_certificate(ssl.get(), own.certificate.get());
    SSL_use_PrivateKey(ssl.get(), own.key.get());
    ASSERT_TRUE(client.start_tls(std::move(ssl)));
    client.write("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
    EXPECT_THAT(client.read_until("!"), HasSubstr("for you!"));
    client.close();
  }
  EXPECT_EQ(rig.count(Counter::TunnelledClientCert), clients);
}

class ClientCertificate : public testing::TestWithParam<int> {};

TEST_P(ClientCertificate, IsLeftToTheClient) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  SSL_CTX_set_max_proto_version(context.get(), GetParam());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     [](int, X509_STORE_CTX*) { return 1; });
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("for you!"); }), context.get());
  rig.go_to(origin.endpoint());
  expect_known(rig, 2);
  rig.set_mode(Mode::Replay);
  Wire client = rig.connect_tls();
  client.write("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.rest(), HasSubstr("this origin asks for client certificates"));
}

TEST_P(ClientCertificate, IsNotAskedForOnAConnectionThatIsKeptBesides) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  SSL_CTX_set_max_proto_version(context.get(), GetParam());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  std::atomic<bool> left{false};
  ScriptedOrigin origin(
      [&](Wire& wire) {
        const timeval patience{60, 0};  // longer than the test waits
        setsockopt(wire.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        wire.rest();
        left = true;  // the tunnel's own ends no sooner than its client, which is still there
        return ScriptedOrigin::End::Close;
      },
      context.get());
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  SslOwned ssl = rig.client_ssl(WorkerRig::Trust::Nobody, "");
  SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);
  ASSERT_TRUE(client.start_tls(std::move(ssl)));
  EXPECT_TRUE(eventually([&] { return left.load(); }));
  client.close();
}

// As kube-apiserver asks: who has none is served as anonymous.
TEST_P(ClientCertificate, ThatIsOptionalIsStillLeftToTheClientOnceTheVerdictIsOld) {
  RigOptions options;
  options.config.tls.verify_ttl = std::chrono::seconds(0);
  WorkerRig rig(std::move(options));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  SSL_CTX_set_max_proto_version(context.get(), GetParam());
  SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>("k"), 1);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  ScriptedOrigin origin(
      [](Wire& wire) {
        const bool is_known = SSL_get0_peer_certificate(wire.ssl()) != nullptr;
        http_origin([&](const std::string&) { return with_length(is_known ? "for you!" : "anonymous!"); })(wire);
        return ScriptedOrigin::End::Close;
      },
      context.get());
  rig.go_to(origin.endpoint());
  expect_known(rig, 4);
}

// In the middle of a connection it cannot be left to the client any more.
TEST(LateClientCertificate, IsNamedAsTheCauseOfTheFailure) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  ScriptedOrigin origin(
      [](Wire& wire) {
        wire.read_until("\r\n\r\n");
        EXPECT_EQ(SSL_renegotiate(wire.ssl()), 1);
        SSL_do_handshake(wire.ssl());  // asks
        wire.rest();                   // and is told no
        return ScriptedOrigin::End::Close;
      },
      context.get());
  rig.go_to(origin.endpoint());
  const std::string answer = rig.ask("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n", true);
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 502 "));
  EXPECT_THAT(answer, HasSubstr("it had asked to renegotiate TLS"));
}

INSTANTIATE_TEST_SUITE_P(, ClientCertificate, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

}  // namespace
}  // namespace tapdeck::server

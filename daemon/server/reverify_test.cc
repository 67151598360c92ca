// An origin's certificate is looked at again once its verdict is old, whatever session could be resumed.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kGetOnce = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";

struct Reverify : testing::TestWithParam<int> {
  Reverify() { SSL_CTX_set_max_proto_version(context.get(), GetParam()); }
  static RigOptions without_ttl() {
    RigOptions options;
    options.config.tls.verify_ttl = 0s;
    return options;
  }
  void show(const tls::LeafSpec& leaf) {
    const tls::Leaf made = tls::testing::must(tls::mint(*rig.origin_ca, leaf));
    SSL_CTX_use_certificate(context.get(), made.certificate.get());
    SSL_CTX_use_PrivateKey(context.get(), made.key.get());
  }

  WorkerRig rig{without_ttl()};
  SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  // One request a connection: none is there to be used again.
  ScriptedOrigin origin{http_origin([](const std::string&) {
                          return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx<FIN>";
                        }),
                        context.get()};
};

TEST_P(Reverify, ACertificateThatWentBadIsNoticedThoughItsSessionCouldBeResumed) {
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(std::string(kGetOnce), true), testing::EndsWith("\r\n\r\nx<EOF>"));
  tls::LeafSpec expired = tls::leaf_for(kHost);
  expired.shape = tls::LeafShape::Expired;
  show(expired);
  Wire wire = rig.connect();
  EXPECT_FALSE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa)));
  EXPECT_EQ(SSL_get_verify_result(wire.ssl()), X509_V_ERR_CERT_HAS_EXPIRED);
  wire.close();
  show(tls::leaf_for(kHost));
  EXPECT_THAT(rig.ask(std::string(kGetOnce), true), testing::EndsWith("\r\n\r\nx<EOF>"));
  EXPECT_EQ(rig.count(Counter::TlsUpResumed), 0U);
}

INSTANTIATE_TEST_SUITE_P(, Reverify, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

// Within it, resumption saves the signature.
TEST(Resumed, WhileItsVerdictIsYoung) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) {
                          return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx<FIN>";
                        }),
                        context.get());
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(std::string(kGetOnce), true), testing::EndsWith("\r\n\r\nx<EOF>"));
  EXPECT_THAT(rig.ask(std::string(kGetOnce), true), testing::EndsWith("\r\n\r\nx<EOF>"));
  EXPECT_EQ(rig.count(Counter::TlsUpOk), 1U);
  EXPECT_EQ(rig.count(Counter::TlsUpResumed), 1U);
}

}  // namespace
}  // namespace tapdeck::server

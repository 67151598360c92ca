// TLS in hybrid mode: what the session knows of an origin spares the dial until something misses.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;

std::string ask_for(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n\r\n";
}

// One that was recorded, answering with the number of requests it has seen. Nothing it proved then counts any more.
class HybridTls : public testing::Test {
 protected:
  [[nodiscard]] static RigOptions forgetful() {
    RigOptions options;
    options.config.tls.verify_ttl = std::chrono::seconds(0);
    return options;
  }
  [[nodiscard]] ScriptedOrigin::Script counting() {
    return http_origin([this](const std::string&) {
      return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n" + std::to_string(++served) + "<FIN>";
    });
  }
  [[nodiscard]] SslContext context_of(tls::LeafShape shape) const {
    tls::LeafSpec leaf = tls::leaf_for(kHost);
    leaf.shape = shape;
    return origin_context(*rig.origin_ca, leaf);
  }
  [[nodiscard]] std::string body(const std::string& target) {
    const std::string answer = rig.ask(ask_for(target), true);
    const size_t at = answer.find("\r\n\r\n");
    return at == std::string::npos ? answer : answer.substr(at + 4);
  }
  [[nodiscard]] std::optional<store::OriginFacts> facts() const {
    auto known = rig.store->origin_facts("default", kHost, origin.endpoint().port);
    return known ? *known : std::nullopt;
  }
  void record() {
    rig.go_to(origin.endpoint());
    ASSERT_EQ(body("/a"), "1<EOF>");
    ASSERT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
    rig.set_mode(Mode::Hybrid);
    dialed = rig.sockets.made;
  }
  std::atomic<int> served{0};
  WorkerRig rig{forgetful()};
  SslContext context = context_of(tls::LeafShape::Good);
  ScriptedOrigin origin{counting(), context.get()};
  int dialed = 0;
};

TEST_F(HybridTls, WhatIsOnTapeIsAnsweredWithoutADial) {
  record();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(body("/a"), "1<EOF>");
  EXPECT_EQ(rig.sockets.made, dialed);
}

TEST_F(HybridTls, TheFirstMissDialsAndIsRecordedWithWhatItLearned) {
  record();
  const auto before = facts();
  ASSERT_TRUE(before);
  EXPECT_EQ(before->alpn, "http/1.1");
  EXPECT_EQ(body("/b"), "2<EOF>");
  EXPECT_EQ(rig.sockets.made, dialed + 1);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  EXPECT_EQ(facts(), before) << "not forgotten, though nothing was learned before the handshake";
  store::RecordingFilter filter;
  filter.path_contains = "/b";
  const auto page = rig.store->list_recordings(filter);
  ASSERT_TRUE(page && page->items.size() == 1);
  const store::Provenance& seen = page->items[0].provenance;
  EXPECT_EQ(seen.upstream_alpn, "http/1.1");
  EXPECT_EQ(seen.peer_certificate_sha256, before->peer_certificate_sha256);
  EXPECT_EQ(body("/b"), "2<EOF>");
}

// The session knows of it, but nobody has seen its certificate.
TEST_F(HybridTls, AnOriginThatWasNeverReachedIsDialledFirst) {
  rig.go_to(local_endpoint(listen_on_loopback().get()));  // nobody listens there any more
  EXPECT_THAT(rig.ask(ask_for("/a"), true), HasSubstr("\"error\":\"upstream_connect\""));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Hybrid);
  const int before = rig.sockets.made;
  Wire wire = rig.connect_tls();
  EXPECT_GT(rig.sockets.made, before);
  wire.close();
}

TEST_F(HybridTls, AnOriginTheSessionDoesNotKnowIsDialledFirst) {
  record();
  const SslContext expired = context_of(tls::LeafShape::Expired);
  ScriptedOrigin other(counting(), expired.get());
  rig.go_to(other.endpoint());
  Wire wire = rig.connect();
  EXPECT_FALSE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa)));
  EXPECT_EQ(SSL_get_verify_result(wire.ssl()), X509_V_ERR_CERT_HAS_EXPIRED);
  wire.close();
}

// The same host and port, whose certificate is not what it was.
class HybridTlsChanged : public HybridTls {
 protected:
  void become(tls::LeafShape shape) {
    const SslContext changed = context_of(shape);
    SSL_CTX_use_cert_and_key(context.get(), SSL_CTX_get0_certificate(changed.get()),
                             SSL_CTX_get0_privatekey(changed.get()), nullptr, 1);
  }
};

TEST_F(HybridTlsChanged, WhatMissesGoesToNoOriginThatDoesNotVerify) {
  record();
  become(tls::LeafShape::Expired);
  EXPECT_EQ(body("/a"), "1<EOF>");
  EXPECT_THAT(rig.ask(ask_for("/b"), true), HasSubstr("\"error\":\"upstream_tls\""));
  EXPECT_EQ(served, 1);
  EXPECT_EQ(rig.store->stored_recordings(), 1U);
}

TEST_F(HybridTlsChanged, WhatMissesIsNotAskedWithoutTheCertificateThatIsWishedForByNow) {
  record();
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  EXPECT_EQ(body("/a"), "1<EOF>");
  EXPECT_THAT(rig.ask(ask_for("/b"), true), HasSubstr("\"error\":\"upstream_tls\""));
  EXPECT_EQ(served, 1);
  EXPECT_EQ(rig.store->stored_recordings(), 1U);
}

TEST_F(HybridTlsChanged, AnOriginRecordedAsBadIsLookedAtAgain) {
  become(tls::LeafShape::Expired);
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_FALSE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa)));
  wire.close();
  EXPECT_TRUE(eventually([&] { return facts() && facts()->verify_failure == "expired"; }));
  rig.set_mode(Mode::Hybrid);
  become(tls::LeafShape::Good);
  EXPECT_TRUE(eventually([&] {
    Wire mended = rig.connect();
    return mended.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa));
  })) << "a refusal is remembered for a second at most";
  EXPECT_EQ(body("/a"), "1<EOF>");
}

}  // namespace
}  // namespace tapdeck::server

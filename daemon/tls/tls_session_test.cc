#include "daemon/tls/tls_session.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::Pump;
using testing::World;
using State = TlsSession::State;

TEST(TlsSession, HandshakesWithVersion13AndTheGivenAlpn) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run()) << (client->failure() ? client->failure()->detail : "");
  EXPECT_EQ(client->version(), 0x0304);
  EXPECT_EQ(client->alpn(), "http/1.1");
  EXPECT_EQ(server->alpn(), "http/1.1");
  EXPECT_FALSE(client->resumed());
  ASSERT_NE(client->peer_report(), nullptr);
  EXPECT_EQ(client->verify_error(), VerifyFailure::None);
  EXPECT_EQ(client->peer_report()->dns_names, std::vector<std::string>{"api.test"});
  EXPECT_EQ(client->peer_certificate_sha256(), must(world.leaves.get(leaf_for("api.test")))->sha256());
  EXPECT_FALSE(client->certificate_requested());
}

TEST(TlsSession, HandshakesWithVersion12) {
  World world;
  SSL_CTX_set_max_proto_version(world.trust->get(), TLS1_2_VERSION);
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  EXPECT_EQ(server->version(), 0x0303);
  EXPECT_EQ(server->alpn(), "http/1.1");
}

TEST(TlsSession, RefusesVersion11) {
  World world;
  SSL_CTX_set_min_proto_version(world.trust->get(), TLS1_1_VERSION);
  SSL_CTX_set_max_proto_version(world.trust->get(), TLS1_1_VERSION);
  SSL_CTX_set_cipher_list(world.trust->get(), "ALL:@SECLEVEL=0");
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  EXPECT_FALSE(pump.run());
  EXPECT_EQ(server->state(), State::Failed);
  EXPECT_EQ(server->failure()->code, Code::Tls);
  EXPECT_EQ(server->failure()->origin, Origin::Downstream);
}

TEST(TlsSession, AMinimumOf13RefusesAClientWithout) {
  World world;
  ServerContextOptions options;
  options.min_version = MinVersion::Tls13;
  world.server = must(ServerContext::create(options));
  SSL_CTX_set_max_proto_version(world.trust->get(), TLS1_2_VERSION);
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  EXPECT_FALSE(pump.run());
  EXPECT_EQ(client->peer_alert(), SSL_AD_PROTOCOL_VERSION);
}

TEST(TlsSession, AnswersNoAlpnWhenTheClientDoesNotOfferIt) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"), "api.test", "imap");
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  EXPECT_EQ(client->alpn(), "");
}

TEST(TlsSession, WorksSplitAtEveryByte) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    auto client = world.connect();
    auto server = world.accept(leaf_for("api.test"));
    Pump pump{*client, *server, 1};
    ASSERT_TRUE(pump.run());
    ASSERT_TRUE(client->encrypt("GET / HTTP/1.1\r\n\r\n"));
    ASSERT_TRUE(server->encrypt("HTTP/1.1 204 No Content\r\n\r\n"));
    ASSERT_TRUE(pump.run());
    EXPECT_EQ(pump.server_got.to_string(), "GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(pump.client_got.to_string(), "HTTP/1.1 204 No Content\r\n\r\n");
  }
}

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 131 + i / 251) & 0xff);
  return text;
}

TEST(TlsSession, CarriesAMebibyteBothWaysUnderSmallLimits) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  const std::string sent = pattern(1 << 20);
  ByteQueue to_server, to_client, server_got, client_got;
  to_server.append(sent);
  to_client.append(sent);
  while (server_got.size() < sent.size() || client_got.size() < sent.size()) {
    ASSERT_TRUE(client->encrypt(to_server, 1000));
    ASSERT_TRUE(server->encrypt(to_client, 1000));
    server->cipher_in().move_from(client->cipher_out(), 1500);
    client->cipher_in().move_from(server->cipher_out(), 1500);
    const size_t before = server_got.size();
    ASSERT_TRUE(server->advance(server_got, 700));
    EXPECT_LE(server_got.size() - before, 700U);
    ASSERT_TRUE(client->advance(client_got, 700));
  }
  EXPECT_TRUE(server_got.to_string() == sent);
  EXPECT_TRUE(client_got.to_string() == sent);
}

TEST(TlsSession, SaysThatMoreIsReadableWhenTheLimitStopsIt) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  ASSERT_TRUE(client->encrypt("0123456789"));
  server->cipher_in().append(std::move(client->cipher_out()));
  ByteQueue got;
  EXPECT_TRUE(must(server->advance(got, 4)));
  EXPECT_EQ(got.to_string(), "0123");
  EXPECT_FALSE(must(server->advance(got, 100)));
  EXPECT_EQ(got.to_string(), "0123456789");
}

TEST(TlsSession, ResumesForTheSameNameAndPolicyOnly) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    struct Case {
      std::string name, alpn, policy;
      bool resumed;
    };
    const Case cases[] = {{"api.test", "http/1.1", "replay", true},
                          {"api.test", "http/1.1", "record", false},
                          {"api.test", "h2", "replay", false},
                          {"other.test", "http/1.1", "replay", false}};
    const LeafSpec both{{"api.test", "other.test"}, {}, LeafShape::Good, {}};
    for (const Case& c : cases) {
      ClientSessionCache cache;
      {
        auto client = world.connect("api.test", &cache);
        auto server = world.accept(both, "api.test", "http/1.1", "replay");
        Pump pump{*client, *server};
        ASSERT_TRUE(pump.run());
        ASSERT_EQ(cache.size(), 1U);
      }
      // The client lies about its ticket: it uses the one of api.test for whatever name it asks now.
      auto client = world.connect(c.name, &cache);
      auto server = world.accept(both, c.name, c.alpn, c.policy);
      Pump pump{*client, *server};
      ASSERT_TRUE(pump.run()) << c.name << c.alpn << c.policy << version;
      EXPECT_EQ(client->resumed(), c.resumed) << c.name << c.alpn << c.policy << version;
      EXPECT_EQ(server->resumed(), c.resumed);
      EXPECT_EQ(client->peer_report()->dns_names, both.dns_names);
    }
  }
}

TEST(TlsSession, DoesNotResumeOnceTheCertificateHasExpired) {
  World world;
  // Lets the expired leaf through, so that its session gets into the cache as if it had expired there.
  SSL_CTX_set_verify(world.trust->get(), SSL_VERIFY_NONE, nullptr);
  for (const LeafShape shape : {LeafShape::Good, LeafShape::Expired}) {
    LeafSpec leaf = leaf_for("api.test");
    leaf.shape = shape;
    ClientSessionCache cache;
    for (const bool again : {false, true}) {
      auto client = world.connect("api.test", &cache);
      auto server = world.accept(leaf);
      Pump pump{*client, *server};
      ASSERT_TRUE(pump.run());
      EXPECT_EQ(client->resumed(), again && shape == LeafShape::Good);
    }
  }
}

TEST(TlsSession, ResumesThroughOneKeyRotationButNotTwo) {
  World world;
  Time now = system_now();
  ServerContextOptions options;
  options.clock = [&now] { return now; };
  const auto resumed_after = [&](std::chrono::hours wait) {
    world.server = must(ServerContext::create(options));
    ClientSessionCache cache;
    auto connect_once = [&] {
      auto client = world.connect("api.test", &cache);
      auto server = world.accept(leaf_for("api.test"));
      Pump pump{*client, *server};
      EXPECT_TRUE(pump.run());
      return client->resumed();
    };
    EXPECT_FALSE(connect_once());
    now += wait;
    return connect_once();
  };
  EXPECT_TRUE(resumed_after(std::chrono::hours(11)));
  EXPECT_TRUE(resumed_after(std::chrono::hours(13)));
  EXPECT_FALSE(resumed_after(std::chrono::hours(25)));
}

// Leaves are ECDSA alone; docs/LIMITS.md says what such a client sees.
TEST(TlsSession, AClientThatTakesRsaAloneIsToldOfAHandshakeFailure) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    SSL_CTX_set_cipher_list(world.trust->get(), "ECDHE-RSA-AES128-GCM-SHA256");
    SSL_CTX_set1_sigalgs_list(world.trust->get(), "rsa_pss_rsae_sha256:RSA+SHA256");
    auto client = world.connect();
    auto server = world.accept(leaf_for("api.test"));
    Pump pump{*client, *server};
    EXPECT_FALSE(pump.run());
    ASSERT_TRUE(client->failure());
    EXPECT_TRUE(client->failure()->detail.contains("alert handshake failure")) << client->failure()->detail;
    EXPECT_FALSE(server->peer_rejected_certificate());
  }
}

TEST(TlsSession, AClientWithoutOurCaIsReportedAsRejectingTheCertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    auto stranger = must(UpstreamTrust::create(SystemRoots::Ignore, {}));
    SSL_CTX_set_max_proto_version(stranger->get(), version);
    auto client = must(TlsSession::connect({stranger.get(), "api.test", "", {}, nullptr, ""}));
    auto server = world.accept(leaf_for("api.test"));
    Pump pump{*client, *server};
    EXPECT_FALSE(pump.run());
    EXPECT_EQ(client->state(), State::Failed);
    EXPECT_EQ(client->failure()->code, Code::TlsVerify);
    EXPECT_EQ(client->failure()->origin, Origin::Upstream);
    EXPECT_EQ(client->verify_error(), VerifyFailure::UntrustedIssuer);
    EXPECT_FALSE(client->encrypt("secret"));
    EXPECT_EQ(server->state(), State::Failed);
    EXPECT_EQ(server->peer_alert(), SSL_AD_UNKNOWN_CA);
    EXPECT_TRUE(server->peer_rejected_certificate());
  }
}

TEST(TlsSession, PlainTextInPlaceOfTlsIsRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view bytes :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, "\x16\x03\x01\x00\x04\xff\xff\xff\xff"sv, "SSH-2.0-x\r\n"sv}) {
    World world;
    auto server = world.accept(leaf_for("api.test"));
    server->cipher_in().append(bytes);
    ByteQueue plain;
    const auto result = server->advance(plain);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::Tls);
    EXPECT_EQ(server->state(), State::Failed);
    EXPECT_FALSE(server->advance(plain));
    EXPECT_TRUE(plain.empty());
  }
}

TEST(TlsSession, GarbageAfterTheHandshakeIsAnErrorWithAnAlert) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  ASSERT_TRUE(client->encrypt("hello"));
  std::string record = client->cipher_out().to_string();
  client->cipher_out().clear();
  record.back() = static_cast<char>(record.back() ^ 1);
  server->cipher_in().append(record);
  ByteQueue plain;
  EXPECT_FALSE(server->advance(plain));
  EXPECT_TRUE(plain.empty());
  client->cipher_in().append(std::move(server->cipher_out()));
  EXPECT_FALSE(client->advance(plain));
  EXPECT_EQ(client->peer_alert(), SSL_AD_BAD_RECORD_MAC);
  EXPECT_FALSE(client->peer_rejected_certificate());
}

TEST(TlsSession, SeesThatTheServerAsksForAClientCertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    SSL_CTX_set_verify(world.server->get(), SSL_VERIFY_PEER, nullptr);
    auto client = world.connect();
    auto server = world.accept(leaf_for("api.test"));
    Pump pump{*client, *server};
    ASSERT_TRUE(pump.run());
    EXPECT_TRUE(client->certificate_requested());
  }
}

TEST(TlsSession, EncryptBeforeTheHandshakeIsAnArgumentError) {
  World world;
  auto client = world.connect();
  const auto result = client->encrypt("early");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::InvalidArgument);
  EXPECT_EQ(client->state(), State::Handshaking);
}

TEST(TlsSession, AnIdleSessionHoldsNoChunk) {
  World world;
  auto client = world.connect();
  auto server = world.accept(leaf_for("api.test"));
  Pump pump{*client, *server};
  ASSERT_TRUE(pump.run());
  // A queue without chunks has nothing to append to: its first reserve is a whole chunk.
  EXPECT_EQ(pump.server_got.reserve(1).size(), ByteQueue::kChunkBytes);
  EXPECT_TRUE(server->cipher_in().empty());
}

TEST(TlsSession, RefusesASetupThatCannotBeVerified) {
  World world;
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\0b", 3), std::string("host:443")}) {
    const auto result = TlsSession::connect({world.trust.get(), name, "", {}, nullptr, ""});
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error().code, Code::InvalidArgument);
  }
}

TEST(ClientSessionCache, IsBoundedAndDropsTheOldest) {
  World world;
  ClientSessionCache cache(2);
  const auto once = [&](const std::string& key) {
    auto client = world.connect("api.test", &cache, key);
    auto server = world.accept(leaf_for("api.test"));
    Pump pump{*client, *server};
    EXPECT_TRUE(pump.run());
    return client->resumed();
  };
  EXPECT_FALSE(once("a"));
  EXPECT_FALSE(once("b"));
  EXPECT_TRUE(once("a"));
  EXPECT_FALSE(once("c"));
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_FALSE(once("b"));
  cache.clear();
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace tapdeck::tls

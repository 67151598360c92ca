// What a server session knows of a client that was shown our certificate and has not said what it thinks of it.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::World;

// As far as the server gets by `flights` of the client's.
std::unique_ptr<TlsSession> after_flights(World& world, TlsSession& client, int flights) {
  auto server = world.accept(leaf_for("api.test"));
  ByteQueue plain;
  for (int i = 0; i < flights; ++i) {
    ignore(client.advance(plain), "told by the server");
    server->cipher_in().append(std::move(client.cipher_out()));
    ignore(server->advance(plain), "told by its state");
    client.cipher_in().append(std::move(server->cipher_out()));
  }
  return server;
}

TEST(Judgement, IsAwaitedBetweenOurCertificateAndWhatFollowsIt) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    EXPECT_FALSE(after_flights(world, *world.connect(), 0)->awaits_judgement());
    auto shown = after_flights(world, *world.connect(), 1);
    EXPECT_TRUE(shown->is_handshaking());
    EXPECT_TRUE(shown->awaits_judgement());
    EXPECT_FALSE(shown->end_of_input());
    EXPECT_TRUE(shown->awaits_judgement()) << "it has left";
    EXPECT_FALSE(after_flights(world, *world.connect(), 2)->awaits_judgement()) << "it went on";
  }
}

TEST(Judgement, WasPassedByAnAlert) {
  World world;
  const auto stranger = must(UpstreamTrust::create(SystemRoots::Ignore, {}));
  auto client = must(TlsSession::connect({stranger.get(), "api.test", "", {}, nullptr, ""}));
  const auto server = after_flights(world, *client, 2);
  EXPECT_FALSE(server->awaits_judgement());
  EXPECT_TRUE(server->peer_rejected_certificate());
}

TEST(Judgement, IsNotAwaitedWhereNothingCouldBeAgreedOn) {
  World world;
  SSL_CTX_set_max_proto_version(world.trust->get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(world.trust->get(), "ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_FALSE(after_flights(world, *world.connect(), 1)->awaits_judgement());
}

// A retry of the ClientHello comes before any certificate.
TEST(Judgement, IsNotAwaitedAfterARetryRequest) {
  World world;
  SSL_CTX_set1_groups_list(world.trust->get(), "P-521:P-256");
  SSL_CTX_set1_groups_list(world.server->get(), "P-256");
  auto client = world.connect();
  EXPECT_FALSE(after_flights(world, *client, 1)->awaits_judgement());
}

}  // namespace
}  // namespace tapdeck::tls

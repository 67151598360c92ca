// What a client session may be resumed from, and what not.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::Pump;
using testing::World;

std::unique_ptr<TlsSession> connect_again(World& world, ClientSessionCache& cache, Resume resume) {
  return must(TlsSession::connect({world.trust.get(), "api.test", "", {}, &cache, "k", resume}));
}

TEST(Resumption, AFullHandshakeIsMadeOnDemandAndItsSessionKept) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    ClientSessionCache cache;
    for (const Resume resume : {Resume::Yes, Resume::No, Resume::Yes}) {
      const bool has_session = cache.size() == 1;
      auto client = connect_again(world, cache, resume);
      auto server = world.accept(leaf_for("api.test"));
      Pump pump{*client, *server};
      ASSERT_TRUE(pump.run());
      EXPECT_EQ(client->resumed(), has_session && resume == Resume::Yes) << version;
      EXPECT_EQ(cache.size(), 1U);
    }
  }
}

// Resumed, it would not be asked again, and its requests would be those of nobody.
TEST(Resumption, ASessionWhoseServerAskedForACertificateIsNotKept) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    World world;
    SSL_CTX_set_max_proto_version(world.trust->get(), version);
    SSL_CTX_set_verify(world.server->get(), SSL_VERIFY_PEER, nullptr);
    ClientSessionCache cache;
    for (int i = 0; i < 2; ++i) {
      auto client = connect_again(world, cache, Resume::Yes);
      auto server = world.accept(leaf_for("api.test"));
      Pump pump{*client, *server};
      ASSERT_TRUE(pump.run());
      EXPECT_FALSE(client->resumed());
      EXPECT_TRUE(client->certificate_requested());
      EXPECT_EQ(cache.size(), 0U);
    }
  }
}

}  // namespace
}  // namespace tapdeck::tls

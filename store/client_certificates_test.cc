#include "store/client_certificates.h"

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

TEST(ClientCertificates, AreKnownToBeAskedForByTheOriginThatAsked) {
  const TestDirectory dir;
  const auto store = open_store(dir.path());
  const Recorder recorder(*store, "s");
  std::vector<PendingWrite> writes;
  writes.push_back(certificate_request_write(recorder.take(), "Mutual.test", 443));
  ASSERT_TRUE(store->write(writes, Durability::Wal));
  const auto asks = [&](const char* scheme, const char* host, uint16_t port, const char* session = "s") {
    return asks_for_certificates(*store, session, {scheme, host, port, "GET", "/", "", {}, 0, {}});
  };
  EXPECT_TRUE(asks("https", "mutual.test", 443));
  EXPECT_FALSE(asks("http", "mutual.test", 443));
  EXPECT_FALSE(asks("https", "mutual.test", 444));
  EXPECT_FALSE(asks("https", "other.test", 443));
  EXPECT_FALSE(asks("https", "mutual.test", 443, "no such session"));
  const auto facts = store->origin_facts("s", "mutual.test", 443);
  EXPECT_TRUE(facts && !*facts) << "it says nothing of ALPN";
}

}  // namespace
}  // namespace tapdeck::store

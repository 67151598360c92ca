// Leaves that show a client what is wrong with an origin's: several failures at once, and names that stand nowhere but
// in the subject.
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include "daemon/tls/cert_mint.h"
#include "daemon/tls/openssl_util.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using std::chrono::days;
using testing::must;
using testing::Pump;
using testing::World;

PeerReport seen_by_client(World& world, const LeafSpec& leaf) {
  auto client = world.connect("api.test");
  auto server = world.accept(leaf);
  Pump pump{*client, *server};
  pump.run();
  EXPECT_NE(client->peer_report(), nullptr);
  return client->peer_report() == nullptr ? PeerReport{} : *client->peer_report();
}

LeafSpec bad_leaf(LeafShape shape, const std::string& name, std::optional<LeafSpec::Validity> validity = {}) {
  LeafSpec spec = leaf_for(name);
  spec.shape = shape;
  spec.validity = validity;
  return spec;
}

TEST(Mirror, SeveralFailuresAreShownTogetherAlsoFromATape) {
  World upstream;
  World ours;
  const Time now = system_now();
  const LeafSpec::Validity past{now - days(9), now - days(2)};
  const LeafSpec::Validity future{now + days(3), now + days(4)};
  const std::pair<LeafSpec, std::string> cases[] = {
      {bad_leaf(LeafShape::WrongName, "other.test", past), "wrong_name+expired"},
      {bad_leaf(LeafShape::WrongName, "other.test", future), "wrong_name+not_yet_valid"},
      {bad_leaf(LeafShape::UntrustedIssuer, "api.test", past), "untrusted_issuer+expired"},
      {bad_leaf(LeafShape::UntrustedIssuer, "other.test", past), "untrusted_issuer+wrong_name+expired"},
      {bad_leaf(LeafShape::SelfSigned, "other.test"), "self_signed+wrong_name"},
      {bad_leaf(LeafShape::Expired, "api.test"), "expired"},
  };
  for (const auto& [spec, failures] : cases) {
    const PeerReport original = seen_by_client(upstream, spec);
    EXPECT_EQ(failures_of(original), failures);
    const PeerReport mirrored = seen_by_client(ours, mirror_leaf("api.test", original, now));
    EXPECT_EQ(failures_of(mirrored), failures);
    EXPECT_EQ(mirrored.dns_names, original.dns_names);
    EXPECT_EQ(mirrored.not_after, original.not_after) << failures;
    const auto recorded = report_from(failures);
    ASSERT_TRUE(recorded);
    const LeafSpec replayed = mirror_leaf("api.test", *recorded, now);
    EXPECT_EQ(failures_of(seen_by_client(ours, replayed)), failures);
    EXPECT_EQ(replayed, mirror_leaf("api.test", *recorded, now + std::chrono::seconds(1))) << "one leaf serves all";
  }
}

TEST(Mirror, FailuresRoundTripAsText) {
  for (const char* text : {"expired", "wrong_name+expired", "self_signed+wrong_name+not_yet_valid"}) {
    EXPECT_EQ(failures_of(report_from(text).value_or(PeerReport{})), text);
  }
  for (const char* text : {"", "+", "none", "ok", "expired+", "expired+none", "Expired", "no_san"}) {
    EXPECT_FALSE(report_from(text)) << text;
  }
}

TEST(Mirror, ALeafWithoutSanHasItsNameInTheSubjectAlone) {
  World world;
  const Leaf made = must(mint(*world.ca, leaf_without_san("api.test")));
  X509* raw = made.certificate.get();
  EXPECT_EQ(X509_get_ext_by_NID(raw, NID_subject_alt_name, -1), -1);
  EXPECT_EQ(X509_check_host(raw, "api.test", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(raw, "api.test", 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr), 0);
  EXPECT_NE(must(world.leaves.get(leaf_without_san("api.test")))->sha256(),
            must(world.leaves.get(leaf_for("api.test")))->sha256());
  EXPECT_EQ(leaf_without_san("192.0.2.1"), leaf_for("192.0.2.1"));
  const std::string long_name = std::string(60, 'a') + ".test";
  EXPECT_EQ(leaf_without_san(long_name), leaf_for(long_name));
}

TEST(Mirror, AnOriginWithoutSanIsSeenAndItsFailuresAreShownWithoutOne) {
  World upstream;
  World ours;
  EXPECT_EQ(seen_by_client(upstream, leaf_for("api.test")).common_name, "") << "its SAN counts";
  const PeerReport good = seen_by_client(upstream, leaf_without_san("api.test"));
  EXPECT_EQ(good.failure, VerifyFailure::None);
  EXPECT_EQ(good.common_name, "api.test");
  LeafSpec expired = leaf_without_san("api.test");
  expired.shape = LeafShape::Expired;
  for (const LeafSpec& spec : {expired, leaf_without_san("other.test")}) {
    const PeerReport original = seen_by_client(upstream, spec);
    EXPECT_NE(original.failure, VerifyFailure::None);
    const PeerReport mirrored = seen_by_client(ours, mirror_leaf("api.test", original, system_now()));
    EXPECT_EQ(failures_of(mirrored), failures_of(original));
    EXPECT_EQ(mirrored.common_name, original.common_name);
  }
}

}  // namespace
}  // namespace tapdeck::tls

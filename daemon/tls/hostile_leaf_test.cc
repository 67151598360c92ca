// Leaves that an honest CA should not have signed, and that clients of the past fell for: a purpose that is not
// serverAuth, names with a NUL in them, names of the wrong type. (Envoy CVE-2022-21657, CVE-2019-9900, CVE-2022-21656.)
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include "daemon/tls/cert_mint.h"
#include "daemon/tls/openssl_util.h"
#include "daemon/tls/test_support.h"
#include "daemon/tls/x509_build.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::Pump;
using testing::World;

struct Name {
  int type;  // GEN_DNS, GEN_EMAIL, GEN_URI
  std::string bytes;
};

// Signed by the CA that the world trusts.
Leaf sign(const World& world, const std::vector<Name>& names, const std::string& purpose = "serverAuth") {
  Leaf leaf;
  leaf.key = must(make_p256_key());
  leaf.not_before = system_now() - std::chrono::hours(1);
  leaf.not_after = system_now() + std::chrono::hours(1);
  leaf.certificate = must(begin_certificate(leaf.key.get(), leaf.not_before, leaf.not_after));
  X509* raw = leaf.certificate.get();
  EXPECT_TRUE(set_common_name(raw, "api.test"));
  EXPECT_EQ(X509_set_issuer_name(raw, X509_get_subject_name(world.ca->certificate())), 1);
  GENERAL_NAMES* list = GENERAL_NAMES_new();
  for (const Name& name : names) {
    GENERAL_NAME* one = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, name.bytes.data(), static_cast<int>(name.bytes.size()));
    GENERAL_NAME_set0_value(one, name.type, text);
    sk_GENERAL_NAME_push(list, one);
  }
  EXPECT_EQ(X509_add1_ext_i2d(raw, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT), 1);
  GENERAL_NAMES_free(list);
  EXPECT_TRUE(add_extension(raw, world.ca->certificate(), NID_ext_key_usage, purpose));
  EXPECT_TRUE(sign_certificate(raw, world.ca->key()));
  return leaf;
}

// What our side of an upstream connection to api.test finds.
PeerReport report_of(World& world, Leaf leaf) {
  auto client = world.connect("api.test");
  auto credential = std::make_shared<const ServerCredential>(std::move(leaf));
  auto server = must(TlsSession::accept({world.server.get(), std::move(credential), "api.test", "http/1.1", ""}));
  Pump pump{*client, *server};
  const bool open = pump.run();
  EXPECT_NE(client->peer_report(), nullptr);
  const PeerReport report = client->peer_report() == nullptr ? PeerReport{} : *client->peer_report();
  EXPECT_EQ(open, report.failure == VerifyFailure::None);
  return report;
}

TEST(HostileLeaf, TheControlIsAccepted) {
  World world;
  EXPECT_EQ(report_of(world, sign(world, {{GEN_DNS, "api.test"}})).failure, VerifyFailure::None);
}

TEST(HostileLeaf, APurposeOtherThanServerAuthIsRefused) {
  World world;
  for (const char* purpose : {"clientAuth", "codeSigning", "emailProtection"}) {
    const PeerReport report = report_of(world, sign(world, {{GEN_DNS, "api.test"}}, purpose));
    EXPECT_EQ(report.failure, VerifyFailure::Other) << purpose;
    EXPECT_NE(report.detail.find("purpose"), std::string::npos) << report.detail;
  }
}

TEST(HostileLeaf, ANulInANameMatchesNothingAndIsCopiedIntoNoLeaf) {
  World world;
  const std::string evil("api.test\0.evil.test", 19);
  const PeerReport report = report_of(world, sign(world, {{GEN_DNS, evil}, {GEN_DNS, "evil.test"}}));
  EXPECT_EQ(report.failure, VerifyFailure::WrongName);
  EXPECT_EQ(report.dns_names, std::vector<std::string>{"evil.test"});
  const LeafSpec mirrored = mirror_leaf("api.test", report, system_now());
  EXPECT_EQ(mirrored.dns_names, std::vector<std::string>{"evil.test"});
  EXPECT_TRUE(mint(*world.ca, mirrored));
}

TEST(HostileLeaf, ANameOfAnotherTypeIsNoHostName) {
  World world;
  for (const int type : {GEN_EMAIL, GEN_URI}) {
    const PeerReport report = report_of(world, sign(world, {{type, "api.test"}, {GEN_DNS, "other.test"}}));
    EXPECT_EQ(report.failure, VerifyFailure::WrongName);
    EXPECT_EQ(report.dns_names, std::vector<std::string>{"other.test"});
  }
}

TEST(HostileLeaf, TheCommonNameIsNoHostName) {
  World world;
  EXPECT_EQ(report_of(world, sign(world, {{GEN_DNS, "other.test"}})).failure, VerifyFailure::WrongName);
}

}  // namespace
}  // namespace tapdeck::tls

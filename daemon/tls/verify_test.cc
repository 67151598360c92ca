#include "daemon/tls/verify.h"

#include <gtest/gtest.h>

#include "daemon/tls/cert_mint.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::Pump;
using testing::World;

// What a client that trusts `world`'s CA and asks for `name` finds wrong with the leaf.
PeerReport report_of(World& world, const LeafSpec& leaf, const std::string& name = "api.test") {
  auto client = world.connect(name);
  auto server = world.accept(leaf, name);
  Pump pump{*client, *server};
  const bool open = pump.run();
  EXPECT_NE(client->peer_report(), nullptr);
  if (client->peer_report() == nullptr) return {};
  const PeerReport report = *client->peer_report();
  EXPECT_EQ(open, report.failure == VerifyFailure::None);
  if (!open) {
    EXPECT_EQ(client->failure()->code, Code::TlsVerify);
    EXPECT_NE(client->failure()->detail.find(report.detail), std::string::npos);
  }
  return report;
}

LeafSpec with_shape(LeafShape shape) {
  LeafSpec spec = leaf_for("api.test");
  spec.shape = shape;
  return spec;
}

TEST(Verify, EachShapeIsSeenAsItsKind) {
  World world;
  EXPECT_EQ(report_of(world, leaf_for("api.test")).failure, VerifyFailure::None);
  EXPECT_EQ(report_of(world, with_shape(LeafShape::Expired)).failure, VerifyFailure::Expired);
  EXPECT_EQ(report_of(world, with_shape(LeafShape::NotYetValid)).failure, VerifyFailure::NotYetValid);
  EXPECT_EQ(report_of(world, with_shape(LeafShape::SelfSigned)).failure, VerifyFailure::SelfSigned);
  EXPECT_EQ(report_of(world, with_shape(LeafShape::UntrustedIssuer)).failure, VerifyFailure::UntrustedIssuer);
  EXPECT_EQ(report_of(world, leaf_for("other.test")).failure, VerifyFailure::WrongName);
}

TEST(Verify, AMirroredFailureIsSeenAsTheSameKindAndFacts) {
  World upstream;
  World ours;
  const LeafSpec bad[] = {with_shape(LeafShape::Expired), with_shape(LeafShape::NotYetValid),
                          with_shape(LeafShape::SelfSigned), with_shape(LeafShape::UntrustedIssuer),
                          LeafSpec{{"other.test", "*.more.test"}, {"192.0.2.7"}, LeafShape::WrongName, {}}};
  for (const LeafSpec& spec : bad) {
    const PeerReport original = report_of(upstream, spec);
    const PeerReport mirrored = report_of(ours, mirror_leaf("api.test", original, system_now()));
    EXPECT_EQ(to_string(mirrored.failure), to_string(original.failure));
    EXPECT_NE(mirrored.sha256, original.sha256);
    if (original.failure == VerifyFailure::WrongName) {
      EXPECT_EQ(mirrored.dns_names, original.dns_names);
      EXPECT_EQ(mirrored.ips, original.ips);
    }
    if (original.failure == VerifyFailure::Expired || original.failure == VerifyFailure::NotYetValid) {
      EXPECT_EQ(mirrored.not_before, original.not_before);
      EXPECT_EQ(mirrored.not_after, original.not_after);
    }
  }
}

TEST(Verify, RevokedAndOtherAreMirroredAsUntrusted) {
  World world;
  for (const VerifyFailure failure : {VerifyFailure::Revoked, VerifyFailure::Other}) {
    PeerReport report;
    report.failure = failure;
    const LeafSpec leaf = mirror_leaf("api.test", report, system_now());
    EXPECT_EQ(report_of(world, leaf).failure, VerifyFailure::UntrustedIssuer);
  }
}

TEST(Verify, AMirrorNeverTurnsAFailureIntoASuccess) {
  World world;
  for (const VerifyFailure failure : {VerifyFailure::Expired, VerifyFailure::NotYetValid, VerifyFailure::WrongName,
                                      VerifyFailure::SelfSigned, VerifyFailure::UntrustedIssuer}) {
    PeerReport report;  // as an old or edited recording might hold it: dates and names that show no failure
    report.failure = failure;
    report.dns_names = {"api.test"};
    report.not_before = system_now() - std::chrono::hours(1);
    report.not_after = system_now() + std::chrono::hours(1);
    EXPECT_EQ(report_of(world, mirror_leaf("api.test", report, system_now())).failure, failure);
  }
}

TEST(Verify, TheGravestOfSeveralFailuresIsReported) {
  World world;
  LeafSpec spec{{"other.test"}, {}, LeafShape::UntrustedIssuer, {}};
  spec.validity = LeafSpec::Validity{system_now() - std::chrono::days(9), system_now() - std::chrono::days(2)};
  EXPECT_EQ(report_of(world, spec).failure, VerifyFailure::UntrustedIssuer);
  spec.shape = LeafShape::WrongName;
  EXPECT_EQ(report_of(world, spec).failure, VerifyFailure::WrongName);
}

TEST(Verify, AddressesAreVerifiedAgainstAddressSans) {
  World world;
  for (const std::string ip : {"192.0.2.1", "2001:db8::1"}) {
    EXPECT_EQ(report_of(world, leaf_for(ip), ip).failure, VerifyFailure::None);
    EXPECT_EQ(report_of(world, leaf_for("192.0.2.9"), ip).failure, VerifyFailure::WrongName);
    EXPECT_EQ(report_of(world, leaf_for("api.test"), ip).failure, VerifyFailure::WrongName);
  }
  EXPECT_EQ(report_of(world, leaf_for("fe80::1"), "fe80::1%eth0").failure, VerifyFailure::None);
}

TEST(Verify, APinnedServerCertificateIsTrustedByItself) {
  World world;
  const LeafSpec spec = with_shape(LeafShape::UntrustedIssuer);
  const std::string pem = must(world.leaves.get(spec))->pem();
  world.trust = must(UpstreamTrust::create(SystemRoots::Ignore, {world.folder.write("pin.pem", pem)}));
  EXPECT_EQ(report_of(world, spec).failure, VerifyFailure::None);
}

TEST(Verify, FailureNamesRoundTrip) {
  for (int i = 0; i < 8; ++i) {
    const auto failure = static_cast<VerifyFailure>(i);
    EXPECT_EQ(verify_failure_from(to_string(failure)), failure);
  }
  EXPECT_EQ(verify_failure_from("Expired"), std::nullopt);
}

TEST(UpstreamTrust, NamesThePathAndTheReasonOfABadCaFile) {
  TestDirectory folder;
  const auto ca = must(CertificateAuthority::create_in_memory({}));
  const auto error_of = [](const std::string& path) {
    const auto result = UpstreamTrust::create(SystemRoots::Ignore, {path});
    return result ? Error{Code::Internal, "no error"} : result.error();
  };
  EXPECT_EQ(error_of(folder.path() + "/absent.pem").code, Code::NotFound);
  EXPECT_NE(error_of(folder.path() + "/absent.pem").detail.find("absent.pem"), std::string::npos);
  EXPECT_EQ(error_of(folder.write("empty.pem", "hello\n")).detail,
            "upstream CA file " + folder.path() + "/empty.pem" + ": no PEM certificate in it");
  std::string broken = ca->certificate_pem();
  broken.replace(60, 8, "!!!!!!!!");
  const Error second = error_of(folder.write("broken.pem", ca->certificate_pem() + broken));
  EXPECT_EQ(second.code, Code::InvalidConfig);
  EXPECT_NE(second.detail.find("certificate 2: "), std::string::npos) << second.detail;
  EXPECT_TRUE(UpstreamTrust::create(SystemRoots::Use, {}));
}

}  // namespace
}  // namespace tapdeck::tls

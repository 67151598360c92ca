#include "daemon/trust/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/trust/test_certificates.h"

namespace tapdeck::trust {
namespace {

size_t count(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(ParseCa, KeepsTheFirstBlockAndKnowsItsOpenSslName) {
  const auto ca = parse_ca("Subject: tapdeck\n" + kOurPem + kOtherPem);
  ASSERT_TRUE(ca) << ca.error().message();
  EXPECT_EQ(ca->pem, kOurPem);
  EXPECT_EQ(ca->subject_hash, kOurHash);
}

TEST(ParseCa, RefusesWhatIsNotACertificate) {
  EXPECT_EQ(parse_ca("").error().code, Code::InvalidArgument);
  EXPECT_EQ(parse_ca("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").error().code,
            Code::InvalidArgument);
  EXPECT_EQ(parse_ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").error().code,
            Code::InvalidArgument);
}

TEST(CertificateBodies, SkipBrokenAndForeignBlocks) {
  const std::string text =
      "# comment\n-----BEGIN CERTIFICATE-----\ncut off\n"
      "-----BEGIN CERTIFICATE-----\r\nQUJD\r\nREVG\r\n-----END CERTIFICATE-----\r\n"
      "-----BEGIN EC PARAMETERS-----\nzzz\n-----END EC PARAMETERS-----\n"
      "-----BEGIN TRUSTED CERTIFICATE-----\nR0hJ\n-----END TRUSTED CERTIFICATE-----";
  EXPECT_THAT(certificate_bodies(text), testing::ElementsAre("QUJDREVG", "R0hJ"));
}

TEST(MergeBundles, KeepsWhatWasThereByteForByteAndAppends) {
  const std::string before = "# roots of the distribution\n\n" + kOtherPem;
  const std::string additions[] = {kOurPem};
  EXPECT_EQ(merge_bundles(before, additions).value(), before + kOurPem);
}

TEST(MergeBundles, EndsAnUnterminatedLastLineFirst) {
  const std::string before = kOtherPem.substr(0, kOtherPem.size() - 1);
  const std::string additions[] = {kOurPem};
  EXPECT_EQ(merge_bundles(before, additions).value(), kOtherPem + kOurPem);
}

TEST(MergeBundles, AddsACertificateOnceHoweverItIsWritten) {
  std::string with_crlf;
  for (const char c : kOurPem) with_crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const std::string additions[] = {kOurPem, kOtherPem, kOurPem};
  const std::string merged = merge_bundles(with_crlf, additions).value();
  EXPECT_EQ(count(merged, "BEGIN CERTIFICATE"), 2U);
  EXPECT_EQ(merged, with_crlf + kOtherPem);
}

TEST(MergeBundles, RefusesToGrowPastItsLimit) {
  const std::string additions[] = {kOurPem};
  EXPECT_EQ(merge_bundles(kOtherPem, additions, kOtherPem.size() + 10).error().code, Code::TooLarge);
  EXPECT_EQ(merge_bundles(kOtherPem, additions, 10).error().code, Code::TooLarge);
}

TEST(CertificatesOnly, LeavesKeysAndTextBehind) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
  EXPECT_EQ(certificates_only("# text\n" + kOtherPem + key + kOurPem), kOtherPem + kOurPem);
  EXPECT_EQ(certificates_only(key), "");
}

}  // namespace
}  // namespace tapdeck::trust

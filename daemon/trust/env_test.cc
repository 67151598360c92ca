#include "daemon/trust/env.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/stores.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::trust {
namespace {

const CaCertificate kCa{kOurPem, kOurHash};

std::string value(const std::vector<std::string>& environment, const std::string& name) {
  std::string found = "(unset)";
  for (const std::string& entry : environment) {
    if (!entry.starts_with(name + "=")) continue;
    EXPECT_EQ(found, "(unset)") << name << " is there twice";
    found = entry.substr(name.size() + 1);
  }
  return found;
}

TEST(TrustEnvironment, GivesReplacingVariablesTheMergedBundleAndAddingOnesOurs) {
  TestDirectory directory;
  const auto out = trust_environment({"PATH=/bin", "HOME=/root"}, kCa, directory / "trust");
  ASSERT_TRUE(out) << out.error().message();
  const std::string bundle = (directory / "trust/bundle.pem").string();
  for (const char* name :
       {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO",
        "PIP_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NPM_CONFIG_CAFILE", "npm_config_cafile"}) {
    EXPECT_EQ(value(*out, name), bundle) << name;
  }
  EXPECT_EQ(value(*out, "NODE_EXTRA_CA_CERTS"), (directory / "trust/ca.pem").string());
  EXPECT_EQ(value(*out, "DENO_CERT"), (directory / "trust/ca.pem").string());
  EXPECT_EQ(value(*out, "HOME"), "/root");
  EXPECT_EQ(directory.read("trust/ca.pem"), kOurPem);
  EXPECT_TRUE(directory.read("trust/bundle.pem").ends_with(kOurPem));
  const std::string host = read_host_roots().value_or(std::string());
  EXPECT_TRUE(directory.read("trust/bundle.pem").starts_with(host));
}

TEST(TrustEnvironment, WritesFilesThatEveryUserMayRead) {
  TestDirectory directory;
  const mode_t before = ::umask(0077);
  const auto out = trust_environment({}, kCa, directory / "trust");
  ::umask(before);
  ASSERT_TRUE(out);
  struct stat status{};
  ASSERT_EQ(::stat((directory / "trust").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0755U);
  ASSERT_EQ(::stat((directory / "trust/bundle.pem").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644U);
}

TEST(TrustEnvironment, MergesWithTheFileAVariableNamedBefore) {
  TestDirectory directory;
  directory.write("corporate.pem", kOtherPem);
  const std::string corporate = (directory / "corporate.pem").string();
  const auto out =
      trust_environment({"CURL_CA_BUNDLE=" + corporate, "NODE_EXTRA_CA_CERTS=" + corporate}, kCa, directory / "trust");
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ(TestDirectory::read_file(value(*out, "CURL_CA_BUNDLE")), kOtherPem + kOurPem);
  EXPECT_EQ(TestDirectory::read_file(value(*out, "NODE_EXTRA_CA_CERTS")), kOtherPem + kOurPem);
  EXPECT_EQ(directory.read("corporate.pem"), kOtherPem);
}

TEST(TrustEnvironment, KeepsTheBundleThatAClientWouldHaveReadBehindAnotherName) {
  TestDirectory directory;
  directory.write("corporate.pem", kOtherPem);
  const std::string corporate = (directory / "corporate.pem").string();
  const auto curl = trust_environment({"SSL_CERT_FILE=" + corporate}, kCa, directory / "trust");
  ASSERT_TRUE(curl);
  EXPECT_EQ(TestDirectory::read_file(value(*curl, "SSL_CERT_FILE")), kOtherPem + kOurPem);
  EXPECT_EQ(TestDirectory::read_file(value(*curl, "CURL_CA_BUNDLE")), kOtherPem + kOurPem);
  EXPECT_EQ(value(*curl, "REQUESTS_CA_BUNDLE"), (directory / "trust/bundle.pem").string());
  const auto requests = trust_environment({"CURL_CA_BUNDLE=" + corporate}, kCa, directory / "trust");
  ASSERT_TRUE(requests);
  EXPECT_EQ(TestDirectory::read_file(value(*requests, "REQUESTS_CA_BUNDLE")), kOtherPem + kOurPem);
}

// Of both spellings npm takes the one that comes last.
TEST(TrustEnvironment, KeepsTheBundleOfNpmInWhicheverCaseItIsNamed) {
  for (const std::string name : {"NPM_CONFIG_CAFILE", "npm_config_cafile"}) {
    TestDirectory directory;
    const std::string corporate = directory.write("corporate.pem", kOtherPem).string();
    const auto out = trust_environment({name + "=" + corporate}, kCa, directory / "trust");
    ASSERT_TRUE(out);
    EXPECT_EQ(TestDirectory::read_file(value(*out, "NPM_CONFIG_CAFILE")), kOtherPem + kOurPem) << name;
    EXPECT_EQ(TestDirectory::read_file(value(*out, "npm_config_cafile")), kOtherPem + kOurPem) << name;
  }
}

TEST(TrustEnvironment, CopiesNoKeyAndShowsNobodyWhatWasClosedToThem) {
  TestDirectory directory;
  const std::filesystem::path own =
      directory.write("own.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n" + kOtherPem);
  ASSERT_EQ(::chmod(own.c_str(), 0600), 0);
  if (::geteuid() == 0) ASSERT_EQ(::chown(own.c_str(), 1000, 1001), 0);
  const auto out = trust_environment({"SSL_CERT_FILE=" + own.string()}, kCa, directory / "trust");
  ASSERT_TRUE(out) << out.error().message();
  const std::string copy = value(*out, "SSL_CERT_FILE");
  EXPECT_EQ(TestDirectory::read_file(copy), kOtherPem + kOurPem);
  struct stat before{}, after{};
  ASSERT_EQ(::stat(own.c_str(), &before), 0);
  ASSERT_EQ(::stat(copy.c_str(), &after), 0);
  EXPECT_EQ(after.st_mode & 0777, 0600U);
  EXPECT_EQ(after.st_uid, before.st_uid);
  EXPECT_EQ(after.st_gid, before.st_gid);
}

TEST(TrustEnvironment, TreatsAVariableThatNamesNoBundleAsUnset) {
  TestDirectory directory;
  const auto out = trust_environment({"SSL_CERT_FILE=/nonexistent", "PIP_CERT=" + directory.path(), "AWS_CA_BUNDLE="},
                                     kCa, directory / "trust");
  ASSERT_TRUE(out) << out.error().message();
  for (const char* name : {"SSL_CERT_FILE", "PIP_CERT", "AWS_CA_BUNDLE"}) {
    EXPECT_EQ(value(*out, name), (directory / "trust/bundle.pem").string()) << name;
  }
}

TEST(TrustEnvironment, ChangesNothingWhenAppliedTwice) {
  TestDirectory directory;
  const auto once = trust_environment({"A=b"}, kCa, directory / "trust");
  ASSERT_TRUE(once);
  const auto twice = trust_environment(*once, kCa, directory / "trust");
  ASSERT_TRUE(twice);
  EXPECT_EQ(*once, *twice);
}

TEST(TrustEnvironment, NamesTheDirectoryItCannotWrite) {
  TestDirectory directory;
  directory.write("file", "");
  const auto out = trust_environment({}, kCa, directory / "file/trust");
  ASSERT_FALSE(out);
  EXPECT_THAT(out.error().detail, testing::HasSubstr("file/trust"));
}

}  // namespace
}  // namespace tapdeck::trust

#include "daemon/trust/stores.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::trust {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<std::string> found(const TestDirectory& root, const ScanOptions& options = {}) {
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto scan = find_stores(fd.get(), options);
  std::vector<std::string> out;
  if (!scan) return {"error: " + scan.error().message()};
  for (const TrustStore& store : scan->stores) {
    out.push_back("BHAE"[static_cast<int>(store.kind)] + std::string(" ") + store.path);
  }
  return out;
}

TEST(FindStores, SeesDebiansBundleAndHashedDirectory) {
  TestDirectory root;
  root.write("etc/ssl/certs/ca-certificates.crt", kOtherPem);
  root.link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt");
  root.link("usr/lib/ssl/certs", "/etc/ssl/certs");
  EXPECT_THAT(found(root), ElementsAre("H /etc/ssl/certs", "B /etc/ssl/certs/ca-certificates.crt"));
}

TEST(FindStores, FollowsFedorasLinksToTheOneBundle) {
  TestDirectory root;
  root.write("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", kOtherPem);
  root.link("etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem");
  root.link("etc/pki/tls/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem");
  root.link("etc/ssl/certs", "../pki/tls/certs");
  std::filesystem::create_directories(root / "etc/pki/ca-trust/source/anchors");
  EXPECT_THAT(found(root), ElementsAre("H /etc/pki/tls/certs", "A /etc/pki/ca-trust/source/anchors",
                                       "B /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"));
}

TEST(FindStores, NeverLeavesTheRoot) {
  TestDirectory outside;
  outside.write("roots.pem", kOtherPem);
  TestDirectory root;
  root.link("etc/ssl/cert.pem", "../../../../../../../../" + (outside / "roots.pem").string());
  root.link("etc/ssl/ca-bundle.pem", (outside / "roots.pem").string());
  root.link("etc/pki/tls/cert.pem", "/proc/self/root" + (outside / "roots.pem").string());
  EXPECT_THAT(found(root), IsEmpty());
}

TEST(FindStores, FindsThePythonBundlesAndNothingLikeThem) {
  TestDirectory root;
  root.write("usr/lib/python3/dist-packages/pip/_vendor/certifi/cacert.pem", kOtherPem);
  root.write("usr/local/lib/python3.12/site-packages/certifi/cacert.pem", kOtherPem);
  root.write("usr/local/lib/python3.12/site-packages/botocore/cacert.pem", kOtherPem);
  root.write("opt/app/venv/lib/python3.11/site-packages/certifi/cacert.pem", kOtherPem);
  root.write("usr/local/lib/python3.12/site-packages/mypackage/cacert.pem", kOtherPem);
  root.write("opt/app/node_modules/certifi/cacert.pem", kOtherPem);
  root.write("opt/app/cacert.pem", kOtherPem);
  EXPECT_THAT(found(root), UnorderedElementsAre("B /usr/lib/python3/dist-packages/pip/_vendor/certifi/cacert.pem",
                                                "B /usr/local/lib/python3.12/site-packages/certifi/cacert.pem",
                                                "B /usr/local/lib/python3.12/site-packages/botocore/cacert.pem",
                                                "B /opt/app/venv/lib/python3.11/site-packages/certifi/cacert.pem"));
}

// uv --link-mode symlink, conda and Nix link the file.
TEST(FindStores, FollowsTheLinksOfPythonPackagesAndSaysWhereItDoesNot) {
  TestDirectory root;
  const std::string packages = "usr/local/lib/python3.12/site-packages/";
  root.write("cache/certifi/cacert.pem", kOtherPem);
  root.write("cache/empty.pem", "no pem");
  root.write("etc/ssl/cert.pem", kOtherPem);
  root.link(packages + "certifi/cacert.pem", "/cache/certifi/cacert.pem");
  root.link(packages + "requests/cacert.pem", "/etc/ssl/cert.pem");
  root.link(packages + "botocore/cacert.pem", "/cache/empty.pem");
  root.link(packages + "pip/_vendor/certifi/cacert.pem", "nowhere.pem");
  EXPECT_THAT(found(root), ElementsAre("B /etc/ssl/cert.pem", "B /cache/certifi/cacert.pem"));
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto scan = find_stores(fd.get(), {});
  ASSERT_TRUE(scan);
  EXPECT_THAT(scan->refused,
              UnorderedElementsAre("/" + packages + "botocore/cacert.pem: no certificate in it",
                                   "/" + packages + "pip/_vendor/certifi/cacert.pem: No such file or directory"));
}

TEST(FindStores, TakesAnEmptyDirectoryOnlyWhereNothingElseIs) {
  TestDirectory root;
  std::filesystem::create_directories(root / "etc/ssl/certs");
  EXPECT_THAT(found(root), ElementsAre("E /etc/ssl/certs"));
  root.write("etc/ssl/cert.pem", kOtherPem);
  EXPECT_THAT(found(root), ElementsAre("B /etc/ssl/cert.pem"));
}

TEST(FindStores, IgnoresWhatIsNotAFile) {
  TestDirectory root;
  std::filesystem::create_directories(root / "etc/ssl/cert.pem");
  std::filesystem::create_directories(root / "etc/pki/tls");
  ASSERT_EQ(::mkfifo((root / "etc/pki/tls/cert.pem").c_str(), 0600), 0);
  EXPECT_THAT(found(root), IsEmpty());
}

TEST(FindStores, SaysWhenItStoppedEarly) {
  TestDirectory root;
  for (int i = 0; i < 40; ++i) root.write("opt/a" + std::to_string(i) + "/b", "");
  root.write("srv/site-packages/certifi/cacert.pem", kOtherPem);
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ScanOptions options;
  options.max_entries = 20;
  const auto scan = find_stores(fd.get(), options);
  ASSERT_TRUE(scan);
  EXPECT_TRUE(scan->truncated);
  EXPECT_THAT(scan->stores, IsEmpty());
}

TEST(FindStores, OutOfPatienceItHasFoundWhatTheDistributionHas) {
  TestDirectory root;
  root.write("etc/ssl/certs/ca-certificates.crt", kOtherPem);
  root.write("usr/local/lib/python3.12/site-packages/certifi/cacert.pem", kOtherPem);
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ScanOptions options;
  options.patience = std::chrono::milliseconds(0);
  const auto scan = find_stores(fd.get(), options);
  ASSERT_TRUE(scan);
  EXPECT_TRUE(scan->truncated);
  EXPECT_EQ(scan->stores.size(), 2U);
}

}  // namespace
}  // namespace tapdeck::trust

#include "daemon/trust/named_stores.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/bind.h"
#include "daemon/trust/env.h"
#include "daemon/trust/test_certificates.h"
#include "daemon/trust/test_sleeper.h"

namespace tapdeck::trust {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

std::vector<std::string> names_in(const std::vector<std::string>& environment) {
  std::string block;
  for (const std::string& entry : environment) block += entry + '\0';
  std::vector<std::string> out;
  for (const NamedStore& named : named_in_environment(block)) out.push_back(named.variable + " " + named.path);
  return out;
}

TEST(NamedStores, AreTheFilesAndDirectoriesOfKnownVariables) {
  EXPECT_THAT(
      names_in({"PATH=/bin", "SSL_CERT_FILE=/app/ca.pem", "XSSL_CERT_FILE=/x", "SSL_CERT_FILE_=/y", "=", "",
                "CURL_CA_BUNDLE=", "SSL_CERT_DIR=/a::/b:", "NODE_EXTRA_CA_CERTS=a=b", "PIP_CERT"}),
      ElementsAre("SSL_CERT_FILE /app/ca.pem", "SSL_CERT_DIR /a", "SSL_CERT_DIR /b", "NODE_EXTRA_CA_CERTS a=b"));
  EXPECT_THAT(named_in_environment("AWS_CA_BUNDLE=/unterminated"), testing::SizeIs(1));
}

TEST(NamedStores, KnowEveryVariableThatRunSets) {
  TestDirectory directory;
  const auto set = trust_environment({}, CaCertificate{kOurPem, kOurHash}, directory.path());
  ASSERT_TRUE(set);
  EXPECT_THAT(names_in(*set), testing::SizeIs(set->size()));
}

struct Named {
  std::vector<std::string> stores, refused;
};

Named find_named(const TestDirectory& root, const std::vector<NamedStore>& named) {
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ScanOptions options;
  options.named = named;
  const auto scan = find_stores(fd.get(), options);
  Named out;
  if (!scan) return out;
  for (const TrustStore& store : scan->stores) out.stores.push_back(store.path);
  out.refused = scan->refused;
  return out;
}

TEST(NamedStores, AreFoundThroughLinksAndOnceBeforeTheirFiles) {
  TestDirectory root;
  root.write("etc/ssl/cert.pem", kOtherPem);
  root.write("data/v1/ca.pem", kOtherPem);
  root.link("app/ca.pem", "/data/v1/ca.pem");
  const Named found = find_named(root, {{"SSL_CERT_FILE", "/app/ca.pem"},
                                        {"CURL_CA_BUNDLE", "/data/../data/v1/ca.pem"},
                                        {"PIP_CERT", "/etc/ssl/cert.pem"},
                                        {"SSL_CERT_DIR", "/data/v1"}});
  EXPECT_THAT(found.stores, ElementsAre("/data/v1", "/etc/ssl/cert.pem", "/data/v1/ca.pem"));
  EXPECT_THAT(found.refused, IsEmpty());
}

TEST(NamedStores, ThatCannotBeCoveredAreSaid) {
  TestDirectory outside;
  outside.write("ca.pem", kOtherPem);
  TestDirectory root;
  root.write("app/plain.txt", "no pem");
  root.write("app/big.pem", kOtherPem + std::string(kMaxBundleBytes, ' '));
  root.write("mixed/ca.pem", kOtherPem);
  root.write("mixed/app.db", "");
  root.write("private/ca.pem", kOtherPem);
  ASSERT_EQ(::chmod((root / "private/ca.pem").c_str(), 0600), 0);
  std::filesystem::create_directories(root / "empty");
  ASSERT_EQ(::chmod(root.path().c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0644), 0);
  root.link("escape.pem", "../../../.." + (outside / "ca.pem").string());
  const Named found = find_named(root, {{"SSL_CERT_FILE", "/app/none.pem"},
                                        {"SSL_CERT_FILE", "ca.pem"},
                                        {"SSL_CERT_FILE", "/app/plain.txt"},
                                        {"SSL_CERT_FILE", "/app/big.pem"},
                                        {"SSL_CERT_FILE", "/fifo"},
                                        {"SSL_CERT_FILE", "/escape.pem"},
                                        {"SSL_CERT_FILE", "/a\nb"},
                                        {"SSL_CERT_DIR", "/mixed"},
                                        {"SSL_CERT_DIR", "/private"},
                                        {"SSL_CERT_DIR", "/empty"},
                                        {"SSL_CERT_DIR", "/"}});
  EXPECT_THAT(found.stores, IsEmpty());
  EXPECT_THAT(found.refused,
              ElementsAre("/app/none.pem (SSL_CERT_FILE): No such file or directory",
                          "ca.pem (SSL_CERT_FILE): not an absolute path",
                          "/app/plain.txt (SSL_CERT_FILE): no certificate in it", HasSubstr("larger than"),
                          "/fifo (SSL_CERT_FILE): neither a file nor a directory",
                          "/escape.pem (SSL_CERT_FILE): No such file or directory",
                          "/a?b (SSL_CERT_FILE): No such file or directory",
                          HasSubstr("other things than certificates"), HasSubstr("ca.pem is not readable by all"),
                          HasSubstr("no certificate in it"), "/ (SSL_CERT_DIR): not readable by all"));
}

TEST(NamedStores, MustBeWhatTheirNamerCouldUseAndNobodyElsesButRoots) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files to users";
  TestDirectory root;
  const auto make = [&](const std::string& name, uid_t uid, gid_t gid, mode_t mode) {
    const std::filesystem::path file = root.write(name, kOtherPem);
    EXPECT_EQ(::chown(file.c_str(), uid, gid), 0);
    EXPECT_EQ(::chmod(file.c_str(), mode), 0);
  };
  ASSERT_EQ(::chmod(root.path().c_str(), 0755), 0);
  make("roots.pem", 0, 0, 0644);
  make("closed.pem", 0, 0, 0600);
  make("group.pem", 0, 50, 0640);
  make("own.pem", 1000, 1000, 0600);
  make("others.pem", 1001, 1001, 0644);
  make("shared.pem", 1001, 1001, 0644);
  make("open/a.pem", 0, 0, 0644);
  ASSERT_EQ(::chmod((root / "open").c_str(), 01777), 0);
  const Namer user{1000, {1000, 50}};
  const Named found = find_named(root, {{"SSL_CERT_FILE", "/roots.pem", user},
                                        {"SSL_CERT_FILE", "/closed.pem", user},
                                        {"SSL_CERT_FILE", "/group.pem", user},
                                        {"SSL_CERT_FILE", "/own.pem", user},
                                        {"SSL_CERT_FILE", "/others.pem", user},
                                        {"SSL_CERT_FILE", "/shared.pem", user},
                                        {"SSL_CERT_DIR", "/open", {}},
                                        {"SSL_CERT_FILE", "/shared.pem", {}}});
  EXPECT_THAT(found.stores, ElementsAre("/roots.pem", "/group.pem", "/own.pem", "/shared.pem"));
  EXPECT_THAT(found.refused,
              ElementsAre("/closed.pem (SSL_CERT_FILE): not readable by the user who names it",
                          "/others.pem (SSL_CERT_FILE): belongs to another user than the process that names it",
                          "/open (SSL_CERT_DIR): writable by all"));
}

TEST(NamedStores, BelongToTheRealUserOfWhoNamesThem) {
  const Namer namer = namer_of("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\t0\t0\nGroups:\t27 100 \n");
  EXPECT_EQ(namer.uid, 1000U);
  EXPECT_THAT(namer.groups, testing::Contains(27U));
  EXPECT_NE(namer_of("").uid, 0U);
}

TEST(NamedStores, OfARunningProcessAreCovered) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root (CAP_SYS_ADMIN) to make mount namespaces";
  TestDirectory run_dir;
  TestDirectory root;
  root.write("etc/ssl/certs/ca-certificates.crt", kOtherPem);
  root.write("data/ca.pem", kOtherPem);
  root.link("app/ca.pem", "/data/ca.pem");
  root.write("roots/extra.pem", kOtherPem);
  Sleeper sleeper(
      root.path(), Propagation::Private,
      {"A=b", "SSL_CERT_FILE=/app/ca.pem", "SSL_CERT_DIR=/roots:/none", "NODE_EXTRA_CA_CERTS=/roots/extra.pem"});
  BindOptions options;
  options.run_dir = run_dir.path();
  options.ca = CaCertificate{kOurPem, kOurHash};
  {
    auto ignoring = bind_into(sleeper.pid(), options);
    ASSERT_TRUE(ignoring) << ignoring.error().message();
    EXPECT_EQ(sleeper.read("/data/ca.pem"), kOtherPem);
  }
  options.environments = Environments::Read;
  auto binding = bind_into(sleeper.pid(), options);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_EQ(sleeper.read("/data/ca.pem"), kOtherPem + kOurPem);
  EXPECT_EQ(sleeper.read("/roots/" + std::string(kOurHash) + ".0"), kOurPem);
  EXPECT_EQ(sleeper.read("/roots/extra.pem"), kOtherPem + kOurPem);
  EXPECT_THAT((*binding)->report().skipped, ElementsAre(HasSubstr("/none (SSL_CERT_DIR): ")));
  std::vector<std::string> mounted;
  for (const TrustStore& store : (*binding)->report().mounted) mounted.push_back(store.path);
  EXPECT_THAT(mounted, UnorderedElementsAre("/etc/ssl/certs", "/data/ca.pem", "/roots"));
  EXPECT_TRUE((*binding)->undo());
  EXPECT_EQ(sleeper.read("/data/ca.pem"), kOtherPem);
  EXPECT_EQ(sleeper.read("/roots/extra.pem"), kOtherPem);
  EXPECT_EQ(root.read("data/ca.pem"), kOtherPem);
}

}  // namespace
}  // namespace tapdeck::trust

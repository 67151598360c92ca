// Each test makes a process in a mount namespace and a small root of its own (test_sleeper.h). Nothing outside these
// namespaces is mounted.
#include "daemon/trust/bind.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/test_certificates.h"
#include "daemon/trust/test_sleeper.h"

namespace tapdeck::trust {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class Bind : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root (CAP_SYS_ADMIN) to make mount namespaces";
    options_.run_dir = run_dir_.path();
    options_.ca = CaCertificate{kOurPem, kOurHash};
  }
  [[nodiscard]] size_t manifests() const {
    size_t n = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(run_dir_ / "trust", error)) {
      n += entry.path().extension() == ".manifest" ? 1U : 0U;
    }
    return n;
  }
  void make_debian_root() {
    root_.write("etc/ssl/certs/ca-certificates.crt", kOtherPem);
    root_.write("usr/share/ca-certificates/other.crt", kOtherPem);
    root_.link("etc/ssl/certs/other.pem", "/usr/share/ca-certificates/other.crt");
    root_.link("etc/ssl/certs/" + std::string(kOurHash) + ".0", "other.pem");
    root_.write("etc/ssl/certs/java/cacerts", "keystore");
    root_.write("usr/lib/python3/dist-packages/certifi/cacert.pem", kOtherPem);
  }

  TestDirectory run_dir_;
  TestDirectory root_;
  BindOptions options_;
};

TEST_F(Bind, CoversBundleHashedDirectoryAndCertifiWithoutWritingAnything) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_THAT((*binding)->report().skipped, IsEmpty());
  EXPECT_THAT((*binding)->report().mounted, SizeIs(2));  // the bundle comes with its directory

  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem + kOurPem);
  EXPECT_EQ(sleeper.read("/usr/lib/python3/dist-packages/certifi/cacert.pem"), kOtherPem + kOurPem);
  // Our hash was taken by another certificate: ours has the next number.
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/" + std::string(kOurHash) + ".1"), kOurPem);
  EXPECT_EQ(std::filesystem::read_symlink(sleeper.see("/etc/ssl/certs/other.pem")),
            "/usr/share/ca-certificates/other.crt");
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/java/cacerts"), "keystore");
  EXPECT_EQ(::open(sleeper.see("/etc/ssl/certs/new").c_str(), O_CREAT | O_WRONLY, 0600), -1);
  EXPECT_EQ(errno, EROFS);

  // The image itself is as it was.
  EXPECT_EQ(root_.read("etc/ssl/certs/ca-certificates.crt"), kOtherPem);
  EXPECT_FALSE(std::filesystem::exists(root_ / "etc/ssl/certs" / (std::string(kOurHash) + ".1")));
  EXPECT_EQ(manifests(), 1U);
}

TEST_F(Bind, CoversWhatAnOuterRunHasCoveredAlready) {
  make_debian_root();
  const std::string ours = "etc/ssl/certs/tapdeck-" + std::string(kOurHash);
  root_.write(ours + ".pem", kOurPem);
  Sleeper same(root_.path());
  auto binding = bind_into(same.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_THAT((*binding)->report().skipped, IsEmpty());
  root_.write(ours + ".pem", kOtherPem);
  Sleeper another(root_.path());
  auto second = bind_into(another.pid(), options_);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_THAT((*second)->report().skipped, IsEmpty());
  EXPECT_EQ(another.read("/" + ours + ".pem"), kOtherPem);
  EXPECT_EQ(another.read("/" + ours + "-1.pem"), kOurPem);
}

TEST_F(Bind, ADirectoryInsideACoveredOneIsCoveredWithIt) {
  make_debian_root();
  root_.write("etc/ssl/certs/extra/other.pem", kOtherPem);
  options_.scan.named = {{"SSL_CERT_DIR", "/etc/ssl/certs/extra", {}}};
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/extra/" + std::string(kOurHash) + ".0"), kOurPem);
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/" + std::string(kOurHash) + ".1"), kOurPem);
  EXPECT_TRUE((*binding)->undo());
  EXPECT_FALSE(std::filesystem::exists(sleeper.see("/etc/ssl/certs/extra/" + std::string(kOurHash) + ".0")));
}

TEST_F(Bind, UndoUncoversAndForgets) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  const auto undone = (*binding)->undo();
  ASSERT_TRUE(undone) << undone.error().message();
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem);
  EXPECT_EQ(sleeper.read("/usr/lib/python3/dist-packages/certifi/cacert.pem"), kOtherPem);
  EXPECT_THAT(TestDirectory::read_file("/proc/" + std::to_string(sleeper.pid()) + "/mountinfo"),
              Not(HasSubstr("tapdeck-trust")));
  EXPECT_EQ(manifests(), 0U);
  EXPECT_TRUE((*binding)->undo());
}

TEST_F(Bind, LeavesNoMountInOurOwnNamespace) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  const std::string before = TestDirectory::read_file("/proc/self/mountinfo");
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_EQ(TestDirectory::read_file("/proc/self/mountinfo"), before);
}

TEST_F(Bind, UndoSucceedsWhenTheTargetIsGone) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  sleeper.end();
  EXPECT_TRUE((*binding)->undo());
  EXPECT_EQ(manifests(), 0U);
}

TEST_F(Bind, FillsAnEmptyStoreWithTheHostsRootsAndOurs) {
  std::filesystem::create_directories(root_ / "etc/ssl/certs");
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  const std::string host = read_host_roots().value_or(std::string());
  const std::string additions[] = {kOurPem};
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), merge_bundles(host, additions).value());
}

TEST_F(Bind, FindingNoStoreIsNotAnError) {
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  EXPECT_THAT((*binding)->report().mounted, IsEmpty());
}

TEST_F(Bind, RefusesTheHostsNamespaceAndSaysWhatElseToDo) {
  const auto binding = bind_into(::getpid(), options_);
  ASSERT_FALSE(binding);
  EXPECT_EQ(binding.error().code, Code::Unsupported);
  EXPECT_THAT(binding.error().detail, HasSubstr("ca export"));
  EXPECT_EQ(manifests(), 0U);
}

TEST_F(Bind, SaysWhenTheProcessIsGone) {
  Sleeper sleeper(root_.path());
  const int pid = sleeper.pid();
  sleeper.end();
  const auto binding = bind_into(pid, options_);
  ASSERT_FALSE(binding);
  EXPECT_EQ(binding.error().code, Code::NotFound);
}

TEST_F(Bind, TwoBindingsStackAndComeOffInAnyOrderThatIsPossible) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  auto first = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(first) << first.error().message();
  auto second = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(second) << second.error().message();
  // The lower one cannot be taken from under the upper one: that is an error, and it can be tried again.
  EXPECT_EQ((*first)->undo().error().code, Code::Busy);
  EXPECT_TRUE((*second)->undo());
  EXPECT_TRUE((*first)->undo());
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem);
}

TEST_F(Bind, TheNextStartUndoesWhatACrashLeft) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  const pid_t crashing = ::fork();
  if (crashing == 0) {
    auto binding = bind_into(sleeper.pid(), options_);
    if (!binding) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(crashing, &status, 0), crashing);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem + kOurPem);

  EXPECT_EQ(clean_leftovers(run_dir_.path()).value(), 1U);
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem);
  EXPECT_EQ(manifests(), 0U);
}

TEST_F(Bind, TheNextStartUndoesAStackInWhateverOrderItFindsIt) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  const pid_t crashing = ::fork();
  if (crashing == 0) {
    std::vector<std::unique_ptr<Binding>> stack;
    for (int i = 0; i < 4; ++i) {
      auto binding = bind_into(sleeper.pid(), options_);
      if (!binding) ::_exit(1);
      stack.push_back(std::move(*binding));
    }
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(crashing, &status, 0), crashing);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(clean_leftovers(run_dir_.path()).value(), 4U);
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem);
  EXPECT_EQ(manifests(), 0U);
}

TEST_F(Bind, CleaningUpLeavesTheLivingAloneAndForgetsNonsense) {
  make_debian_root();
  Sleeper sleeper(root_.path());
  auto binding = bind_into(sleeper.pid(), options_);
  ASSERT_TRUE(binding) << binding.error().message();
  run_dir_.write("trust/broken.manifest", "tapdeck-trust 1\nowner x");
  EXPECT_EQ(clean_leftovers(run_dir_.path()).value(), 0U);
  EXPECT_EQ(sleeper.read("/etc/ssl/certs/ca-certificates.crt"), kOtherPem + kOurPem);
  EXPECT_EQ(manifests(), 1U);
}

TEST_F(Bind, CleaningUpWhereNothingEverWasIsFine) {
  EXPECT_EQ(clean_leftovers(run_dir_ / "missing").value(), 0U);
}

// The whole test runs in a process of its own whose namespace is "the host": its mounts are shared, the target's are
// peers of them, and a mount in the target would show up in both.
TEST_F(Bind, RefusesAMountThatWouldPropagateToTheHost) {
  make_debian_root();
  const pid_t host = ::fork();
  if (host == 0) {
    int verdict = 1;
    if (::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0) {
      Sleeper sleeper(root_.path(), Propagation::SharedWithHost);
      auto binding = bind_into(sleeper.pid(), options_);
      const bool untouched = root_.read("etc/ssl/certs/ca-certificates.crt") == kOtherPem;
      verdict = binding && (*binding)->report().mounted.empty() && (*binding)->report().skipped.size() == 3 && untouched
                    ? 0
                    : 2;
    }
    ::_exit(verdict);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(host, &status, 0), host);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace tapdeck::trust

// What a hostile target does while trust is bound into it or taken from it. Needs root, as bind_test.cc.
#include "daemon/trust/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "daemon/base/test_directory.h"
#include "daemon/trust/bind.h"
#include "daemon/trust/helper_process.h"
#include "daemon/trust/test_certificates.h"
#include "daemon/trust/test_sleeper.h"

namespace tapdeck::trust {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kAccounts = "root:x:0:0::/root:/bin/sh\n";
const std::string kForged = "r00t::0:0::/:/bin/sh\n" + kOtherPem;

// /mine is the target's own: what it names is in d, and e leads to what is not its own.
class Hostile : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root (CAP_SYS_ADMIN) to make mount namespaces";
    root_.write("mine/d/passwd", kForged);
    root_.write("mine/d/sys/a.pem", kOtherPem);
    root_.link("mine/e", "../victim");  // as well for who has not changed its root
    root_.write("victim/passwd", kAccounts);
    root_.write("victim/sys/hidden", "");
  }
  [[nodiscard]] OverlayJob job(const Sleeper& sleeper) const {
    OverlayJob job;
    job.pid = sleeper.pid();
    struct stat status{};
    ::stat(("/proc/" + std::to_string(job.pid) + "/ns/mnt").c_str(), &status);
    job.namespace_inode = status.st_ino;
    job.id = "0123";
    job.scratch = scratch_.path();
    job.ca = CaCertificate{kOurPem, kOurHash};
    job.scan.named = named();
    return job;
  }
  static std::vector<NamedStore> named() {
    return {{"SSL_CERT_FILE", "/mine/d/passwd", {}}, {"SSL_CERT_DIR", "/mine/d/sys", {}}};
  }
  static BindReport run(const OverlayJob& job) {
    const auto report = run_in_helper([&] { return mount_overlays(job); }, std::chrono::seconds(10));
    EXPECT_TRUE(report) << report.error().message();
    return decode_report(report.value_or(""));
  }
  static Result<std::string> undo_of(const OverlayJob& job, const std::function<void()>& after_look = {}) {
    return run_in_helper([&] { return unmount_overlays(job.pid, job.namespace_inode, job.id, after_look); },
                         std::chrono::seconds(10));
  }
  // A read-only mount that confines the target.
  void mount_over_victim(const Sleeper& sleeper) const {
    const std::string command =
        "nsenter -t " + std::to_string(sleeper.pid()) + " -m mount -t tmpfs confines " + root_.path() + "/victim/sys";
    ASSERT_EQ(::system(command.c_str()), 0);
  }
  static std::string mounts_of(const Sleeper& sleeper) {
    return TestDirectory::read_file("/proc/" + std::to_string(sleeper.pid()) + "/mountinfo");
  }
  static bool swap(const std::filesystem::path& a, const std::filesystem::path& b) {
    return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
  }

  TestDirectory scratch_;
  TestDirectory root_;
};

TEST_F(Hostile, WhatWasScannedIsCoveredWhereverItsPathLeadsByThen) {
  Sleeper sleeper(root_.path());
  OverlayJob one = job(sleeper);
  one.after_scan = [&] { swap(root_ / "mine/d", root_ / "mine/e"); };
  run(one);
  EXPECT_EQ(sleeper.read("/victim/passwd"), kAccounts);
  EXPECT_TRUE(std::filesystem::exists(sleeper.see("/victim/sys/hidden")));
  EXPECT_EQ(sleeper.read("/mine/e/passwd"), kForged + kOurPem) << "its own";
  EXPECT_EQ(sleeper.read("/mine/e/sys/" + std::string(kOurHash) + ".0"), kOurPem);
}

TEST_F(Hostile, AFileThatWasReplacedIsLeftAlone) {
  Sleeper sleeper(root_.path());
  OverlayJob one = job(sleeper);
  one.after_scan = [&] { std::filesystem::rename(root_ / "victim/passwd", root_ / "mine/d/passwd"); };
  const BindReport report = run(one);
  EXPECT_EQ(sleeper.read("/mine/d/passwd"), kAccounts);
  EXPECT_THAT(report.skipped, ElementsAre(HasSubstr("/mine/d/passwd: ")));
}

TEST_F(Hostile, WhatIsUnmountedIsOursWhateverItsPathLeadsToByThen) {
  Sleeper sleeper(root_.path());
  mount_over_victim(sleeper);
  const OverlayJob one = job(sleeper);
  EXPECT_EQ(run(one).mounted.size(), 2U);
  const auto swap_ours = [&] { swap(root_ / "mine/d", root_ / "mine/e"); };
  EXPECT_EQ(undo_of(one, swap_ours).error().code, Code::Busy) << "it was never where it had been";
  EXPECT_THAT(mounts_of(sleeper), HasSubstr("/victim/sys "));
  int looks = 0;
  const auto swap_once = [&] { return ++looks == 1 ? swap_ours() : void(); };
  EXPECT_EQ(undo_of(one, swap_once).value_or(""), "2");
  EXPECT_THAT(mounts_of(sleeper), HasSubstr("/victim/sys "));
  EXPECT_THAT(mounts_of(sleeper), Not(HasSubstr("tapdeck-trust")));
}

TEST_F(Hostile, NothingElseIsCoveredOrUncoveredWhileDirectoriesAreSwapped) {
  Sleeper sleeper(root_.path());
  mount_over_victim(sleeper);
  const pid_t swapper = ::fork();
  if (swapper == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (swap(root_ / "mine/d", root_ / "mine/e")) std::this_thread::yield();
    ::_exit(1);
  }
  BindOptions options;
  options.run_dir = scratch_.path();
  options.ca = CaCertificate{kOurPem, kOurHash};
  options.scan.named = named();
  options.scan.python_roots = {"/nonexistent"};
  size_t covered = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (int i = 0; i < 60 && std::chrono::steady_clock::now() < until && !HasFailure(); ++i) {
    auto binding = bind_into(sleeper.pid(), options);
    ASSERT_TRUE(binding) << binding.error().message();
    covered += (*binding)->report().mounted.size();
    EXPECT_EQ(sleeper.read("/victim/passwd"), kAccounts);
    const auto undone = (*binding)->undo();
    EXPECT_TRUE(undone) << undone.error().message();
    EXPECT_THAT(mounts_of(sleeper), HasSubstr("/victim/sys "));
  }
  ::kill(swapper, SIGKILL);
  ::waitpid(swapper, nullptr, 0);
  EXPECT_GT(covered, 0U);
  EXPECT_THAT(mounts_of(sleeper), Not(HasSubstr("tapdeck-trust")));
}

TEST_F(Hostile, AWellKnownNameThatLeadsToNoBundleIsLeftAlone) {
  root_.link("opt/conda/ssl/cacert.pem", "/victim/passwd");
  Sleeper sleeper(root_.path());
  OverlayJob one = job(sleeper);
  one.scan.named.clear();
  EXPECT_THAT(run(one).skipped, ElementsAre("/victim/passwd: no certificate in it"));
  EXPECT_EQ(sleeper.read("/victim/passwd"), kAccounts);
}

TEST_F(Hostile, AMountInsideWhatIsCoveredIsNotTakenAlong) {
  Sleeper sleeper(root_.path());
  OverlayJob one = job(sleeper);
  run(one);
  const std::string inside = "nsenter -t " + std::to_string(sleeper.pid()) + " -m ";
  const std::string place = root_.path() + "/mine/d/sys/a.pem";
  ASSERT_EQ(::system((inside + "mount --bind /dev/null " + place).c_str()), 0);
  const auto undo = [&] { return undo_of(one); };
  EXPECT_EQ(undo().error().code, Code::Busy);
  EXPECT_THAT(mounts_of(sleeper), HasSubstr("a.pem"));
  ASSERT_EQ(::system((inside + "umount " + place).c_str()), 0);
  EXPECT_EQ(undo().value(), "1") << "the file had come off before";
}

TEST_F(Hostile, ASearchThatWasEndedEarlyIsSaidFirst) {
  Sleeper sleeper(root_.path());
  OverlayJob one = job(sleeper);
  one.scan.patience = std::chrono::milliseconds(0);
  const BindReport report = run(one);
  EXPECT_THAT(report.skipped, ElementsAre(HasSubstr("ended early")));
  EXPECT_THAT(report.mounted, IsEmpty());
}

}  // namespace
}  // namespace tapdeck::trust

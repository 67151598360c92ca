// Where pins go, in a mount namespace with a /sys/fs/bpf of the test's own. Needs root.
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/probe.h"
#include "daemon/kernel/run_directory.h"

namespace tapdeck::kernel {
namespace {

namespace fs = std::filesystem;

constexpr char kHostBpffs[] = "/sys/fs/bpf";

class PinDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
  }
  // The status of a child in a mount namespace of its own, with a new bpffs on /sys/fs/bpf.
  static int in_own_mounts(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      const bool ready = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("bpf", kHostBpffs, "bpf", 0, nullptr) == 0;
      ::_exit(ready ? body() : 99);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static bool make_read_only() {
    return ::mount(nullptr, kHostBpffs, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
  }
  static bool is_writable_bpffs(const std::string& path) {
    struct statfs info{};
    return ::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC && ::access(path.c_str(), W_OK) == 0;
  }
  TestDirectory directory_;
  const std::string& run_dir_ = directory_.path();
};

TEST_F(PinDirectory, IsTheHostsWhereItCanBeWritten) {
  EXPECT_EQ(in_own_mounts([&] {
              auto run = RunDirectory::open(run_dir_);
              const auto pins = run->pin_directory();
              return pins && pins->starts_with(kHostBpffs) && is_writable_bpffs(*pins) ? 0 : 1;
            }),
            0);
}

// What an earlier daemon left there answers mkdir() with EEXIST, read-only or not.
TEST_F(PinDirectory, IsNotTheReadOnlyOneThatIsLeftOver) {
  EXPECT_EQ(in_own_mounts([&] {
              auto run = RunDirectory::open(run_dir_);
              const auto left_over = run->pin_directory();
              if (!left_over || !make_read_only()) return 98;
              fs::remove(run_dir_ + "/kernel/" + kPinsRecord);
              run = fail(Code::Closed, "its lock is released");
              auto next = RunDirectory::open(run_dir_);
              const auto pins = next->pin_directory();
              return pins && *pins != *left_over && is_writable_bpffs(*pins) ? 0 : 1;
            }),
            0);
}

TEST_F(PinDirectory, IsNotTheReadOnlyOneOfThePredecessor) {
  EXPECT_EQ(in_own_mounts([&] {
              auto run = RunDirectory::open(run_dir_);
              const auto left_over = run->pin_directory();
              if (!left_over || !make_read_only()) return 98;
              run = fail(Code::Closed, "its lock is released");
              auto next = RunDirectory::open(run_dir_);
              const auto pins = next->pin_directory();
              return pins && *pins != *left_over && is_writable_bpffs(*pins) ? 0 : 1;
            }),
            0);
}

TEST_F(PinDirectory, IsNotCalledFineByTheProbeWhenReadOnly) {
  const auto is_fine = [] {
    for (const auto& finding : probe()) {
      if (finding.name == "bpffs") return finding.ok ? 1 : 0;
    }
    return 98;
  };
  EXPECT_EQ(in_own_mounts(is_fine), 1);
  EXPECT_EQ(in_own_mounts([&] { return make_read_only() ? is_fine() : 98; }), 0);
}

}  // namespace
}  // namespace tapdeck::kernel

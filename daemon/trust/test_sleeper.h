// A process with files and mounts of its own, for the tests of this folder; looked at through /proc/PID/root.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/base/test_directory.h"

namespace tapdeck::trust {

enum class Propagation { Private, SharedWithHost };

// A process that sleeps in a new mount namespace with `root` as its root, and shows `environment` in /proc/PID/environ.
class Sleeper {
 public:
  explicit Sleeper(const std::filesystem::path& root, Propagation propagation = Propagation::Private,
                   const std::vector<std::string>& environment = {}) {
    std::string block;
    for (const std::string& entry : environment) block += entry + '\0';
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const bool good = show_environment(block) && ::unshare(CLONE_NEWNS) == 0 &&
                        (propagation == Propagation::SharedWithHost ||
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) &&
                        ::chroot(root.c_str()) == 0 && ::chdir("/") == 0;
      if (good && ::write(ready[1], "x", 1) == 1) {
        for (;;) ::pause();
      }
      ::_exit(1);
    }
    ::close(ready[1]);
    char byte;
    if (::read(ready[0], &byte, 1) != 1)
      ADD_FAILURE() << "cannot make a mount namespace, or " << block.size() << " bytes of environment";
    ::close(ready[0]);
  }
  ~Sleeper() { end(); }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] std::filesystem::path see(const std::string& path) const {
    return "/proc/" + std::to_string(pid_) + "/root" + path;
  }
  [[nodiscard]] std::string read(const std::string& path) const { return TestDirectory::read_file(see(path)); }

 private:
  // Over the one it began with, which the kernel reads from where fields 50 and 51 of its stat say: /proc/PID/environ.
  static bool show_environment(const std::string& block) {
    if (block.empty()) return true;
    std::istringstream fields(TestDirectory::read_file("/proc/self/stat"));
    fields.ignore(std::numeric_limits<std::streamsize>::max(), ')');
    std::string field;
    for (int number = 3; number < 50; ++number) fields >> field;
    uintptr_t start = 0;
    uintptr_t end = 0;
    fields >> start >> end;
    if (end - start < block.size()) return false;
    auto* const place = reinterpret_cast<char*>(start);
    std::fill(place, reinterpret_cast<char*>(end), '\0');
    std::ranges::copy(block, place);
    return true;
  }

  pid_t pid_ = -1;
};

}  // namespace tapdeck::trust

// FakeBackend and the fixture of the registry's tests: cgroups are real, below one `tapdeck-test-PID`; the capture
// layer is a fake that writes down what it was told, and podman and docker are scripts that say what the test wants.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "daemon/app/targets.h"
#include "daemon/base/test_directory.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {

class FakeBackend : public TargetBackend {
 public:
  Result<void> attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved, Why) override {
    if (refuse) {
      ++refused;
      return fail(refuse_as, "no CAP_BPF");
    }
    ++passed[slot];  // a datagram, before anything could be done about it
    return note("attach " + std::to_string(slot) + " " +
                (resolved.interface.empty() ? resolved.cgroup_path : resolved.interface) + " " +
                settings.session.value_or("-"));
  }
  Result<void> update(uint32_t slot, const TargetSettings& settings) override {
    return note("update " + std::to_string(slot) + " " + settings.session.value_or("-"));
  }
  bool is_closed(const TargetSettings& settings) override { return closed || TargetBackend::is_closed(settings); }
  void look_again(uint32_t) override {
    if (when_looked_at) when_looked_at();
  }
  [[nodiscard]] bool retry() override {
    if (waits == 0) return false;
    return --waits > 0;
  }
  void keep_leftovers(Keep keep) override { keeps = keep == Keep::Yes; }
  Result<void> detach(uint32_t slot) override {
    if (refuse) return fail(Code::Io, "cannot be removed");
    return note("detach " + std::to_string(slot));
  }
  std::string trouble(uint32_t) override {
    const std::lock_guard lock(mutex_);
    return trouble_;
  }
  void set_trouble(std::string trouble) {
    const std::lock_guard lock(mutex_);
    trouble_ = std::move(trouble);
  }
  Gaps gaps(uint32_t) override { return {gap_count, std::chrono::milliseconds(7 * gap_count)}; }
  std::map<std::string, uint64_t> uncaptured(uint32_t slot) override {
    return passed.contains(slot) ? std::map<std::string, uint64_t>{{"udp", passed[slot]}}
                                 : std::map<std::string, uint64_t>{};
  }

  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(calls_, {});
  }
  // Waits for the next call; "" after ten seconds.
  std::string next() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(10), [&] { return !calls_.empty(); })) return "";
    std::string call = calls_.front();
    calls_.erase(calls_.begin());
    return call;
  }
  std::atomic<bool> refuse = false;
  std::atomic<Code> refuse_as = Code::Permission;
  std::atomic<bool> closed = false;  // by default
  std::atomic<bool> keeps = false;   // leftovers
  std::atomic<int> waits = 0;        // that many calls of retry(), the last of which helps
  std::function<void()> when_looked_at;
  std::atomic<int> refused = 0;         // times
  std::atomic<uint64_t> gap_count = 0;  // of 7 ms each
  std::map<uint32_t, uint64_t> passed;  // by slot; never less, as in the kernel's counters

 private:
  Result<void> note(std::string call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
    return {};
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> calls_;
  std::string trouble_;
};

class Targets : public testing::Test {
 protected:
  void SetUp() override {
    const auto mount = kernel::find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) GTEST_SKIP() << "needs root and cgroup2";
    top_ = *mount + "/tapdeck-test-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(top_.c_str(), 0755), 0);
    std::filesystem::create_directories(directory_ / "bin");
    old_path_ = std::getenv("PATH");
  }
  void TearDown() override {
    if (top_.empty()) return;
    ::setenv("PATH", old_path_.c_str(), 1);
    for (const pid_t pid : pids_) end(pid);
    for (const auto& entry : std::filesystem::directory_iterator(top_)) {
      if (entry.is_directory()) ::rmdir(entry.path().c_str());
    }
    ::rmdir(top_.c_str());
  }
  std::string cgroup(const std::string& name) {
    const std::string path = top_ + "/" + name;
    ::mkdir(path.c_str(), 0755);
    return path;
  }
  pid_t process_in(const std::string& path) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (;;) ::pause();
    }
    std::ofstream(path + "/cgroup.procs") << pid;
    pids_.push_back(pid);
    return pid;
  }
  // With file systems of its own.
  pid_t own_mounts_in(const std::string& path) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const bool done = ::unshare(CLONE_NEWNS) == 0 && ::write(ready[1], "", 1) == 1;
      if (!done) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    std::ofstream(path + "/cgroup.procs") << pid;
    pids_.push_back(pid);
    return pid;
  }
  static void end(pid_t pid) {
    if (::kill(pid, SIGKILL) == 0) ::waitpid(pid, nullptr, 0);
  }
  // From now on `podman inspect` answers with this; written aside and renamed, as who asks may be reading.
  void podman_says(const std::string& script) { tool_says("podman", script); }
  void tool_says(const std::string& tool, const std::string& script) {
    const std::string path = directory_ / "bin" / tool;
    std::ofstream(path + ".new") << "#!/bin/sh\n" << script << "\n";
    ::chmod((path + ".new").c_str(), 0755);
    std::filesystem::rename(path + ".new", path);
    ::setenv("PATH", (directory_ / "bin").c_str(), 1);
  }
  static std::string running(const std::string& id, pid_t pid) {
    return R"(echo '[{"Id":")" + id + R"(","Name":"web","State":{"Status":"running","Pid":)" + std::to_string(pid) +
           "}}]'";
  }
  std::unique_ptr<TargetRegistry> registry(std::chrono::milliseconds longest = std::chrono::milliseconds(20)) {
    TargetRegistry::Options options;
    options.file = directory_ / "targets.json";
    options.resolve.deadline = deadline_;
    options.first_look = std::chrono::milliseconds(5);
    options.longest_look = longest;
    options.longest_container_look = longest;
    options.last_slot = 3;
    options.alive_file = alive_;
    options.predecessor_refuses = predecessor_refuses_;
    options.on_gap = on_gap_;
    options.bind_trust = bind_trust_;
    auto opened = TargetRegistry::open(std::move(options), backend_);
    EXPECT_TRUE(opened) << opened.error().message();
    return std::move(*opened);
  }
  static TargetSettings wanted(TargetKind kind, const std::string& name, const std::string& session = "s") {
    TargetSettings settings;
    settings.spec = {kind, name};
    settings.session = session;
    return settings;
  }

  FakeBackend backend_;
  std::chrono::milliseconds deadline_ = std::chrono::minutes(10);  // of podman and docker
  std::string top_;
  TestDirectory directory_;
  std::string old_path_;
  std::vector<pid_t> pids_;
  // Of the registries that are opened from now on.
  std::filesystem::path alive_;
  bool predecessor_refuses_ = false;
  std::function<void(const TargetSettings&, std::chrono::milliseconds)> on_gap_;
  TrustBinder bind_trust_;
};

}  // namespace tapdeck::app

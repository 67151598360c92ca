#include "daemon/app/run_cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>

#include "daemon/app/cgroup2.h"
#include "daemon/app/cgroup_tree.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

constexpr std::string_view kPrefix = "tapdeck-run-";
constexpr std::chrono::milliseconds kKillLimit{5000};

// The PID in "tapdeck-run-PID-n".
std::optional<pid_t> owner_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr == name.data() + name.size() || *parsed.ptr != '-') return std::nullopt;
  return pid;
}

// Of a run that is dead, whichever process namespace it lived in: the living hold theirs.
bool is_of_the_dead(const std::string& cgroup) {
  const std::optional<pid_t> owner = owner_of(std::string_view(cgroup).substr(cgroup.rfind('/') + 1));
  return owner && !is_alive(*owner) && !is_held(cgroup);
}

// Where a run makes its cgroup, the better place first: below its own, else below the root of the mount.
Result<std::vector<std::string>> parents() {
  TRY(mount, find_cgroup2_mount());
  TRY(own, cgroup2_line("/proc/self/cgroup"));
  // With a cgroup namespace entered after mounting, our path is "/../..": only the root of the mount is ours to name.
  if (own == "/" || own.contains("..")) return std::vector<std::string>{mount};
  return std::vector<std::string>{mount + own, mount};
}

}  // namespace

Result<std::unique_ptr<RunCgroup>> RunCgroup::create() {
  TRY(places, parents());
  if (places.size() > 1) {
    auto below_own = create_below(places.front());
    if (below_own) return below_own;
  }
  return create_below(places.back());
}

Result<std::unique_ptr<RunCgroup>> RunCgroup::create_below(const std::string& parent) {
  static std::atomic<unsigned> serial{0};
  remove_stale_run_cgroups(parent);
  std::string path =
      parent + "/" + std::string(kPrefix) + std::to_string(::getpid()) + "-" + std::to_string(serial.fetch_add(1));
  if (::mkdir(path.c_str(), 0755) != 0) return fail_errno(errno, "make the cgroup " + path, Origin::Kernel);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    const int error = errno;
    ::rmdir(path.c_str());
    return fail_errno(error, "open the cgroup " + path, Origin::Kernel);
  }
  // Not hold(), which gives up when another run just looks whether it is held.
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    ::rmdir(path.c_str());
    return fail_errno(error, "lock the cgroup " + path, Origin::Kernel);
  }
  return std::unique_ptr<RunCgroup>(new RunCgroup(std::move(path), std::move(fd)));
}

RunCgroup::~RunCgroup() {
  ignore(remove(), "the next start removes it");
}

std::vector<pid_t> RunCgroup::pids() const {
  return pids_in(path_);
}

size_t RunCgroup::end_leftovers(std::chrono::milliseconds settle, std::chrono::milliseconds grace) {
  if (path_.empty() || wait_until_empty(path_, settle)) return 0;
  const std::vector<pid_t> left = pids();
  for (const pid_t pid : left) ::kill(pid, SIGTERM);
  // A process in uninterruptible sleep may take longer: the next start removes its cgroup.
  if (!wait_until_empty(path_, grace)) kill_all_in(path_, grace);
  return left.size();
}

Result<void> RunCgroup::remove() {
  if (path_.empty()) return {};
  TRY_VOID(remove_cgroup(path_));
  path_.clear();
  return {};
}

Result<void> remove_dead_run_cgroup(const std::string& cgroup) {
  std::error_code ignored;
  if (!std::filesystem::exists(cgroup, ignored)) return {};
  if (!is_of_the_dead(cgroup)) return fail(Code::Busy, cgroup + " is of a run that lives, or of nobody we know");
  if (const size_t left = pids_in(cgroup).size(); left > 0) {
    const bool gone = kill_all_in(cgroup, kKillLimit);
    log::warn("run.survivors_killed", "processes of a run that was killed had outlived it",
              {{"cgroup", cgroup}, {"processes", left}});
    if (!gone) return fail(Code::Timeout, "a process in " + cgroup + " does not end");
  }
  return remove_cgroup(cgroup);
}

size_t remove_stale_run_cgroups(const std::string& parent) {
  size_t count = 0;
  for (const std::string& cgroup : cgroups_below(parent)) {
    if (!is_of_the_dead(cgroup)) continue;
    const auto removed = remove_dead_run_cgroup(cgroup);
    if (removed) ++count;
    if (!removed) log::warn("run.leftovers", removed.error().message(), {{"cgroup", cgroup}});
  }
  return count;
}

void remove_dead_run_cgroups() {
  const auto places = parents();
  if (!places) return;
  for (const std::string& place : *places) remove_stale_run_cgroups(place);
}

}  // namespace tapdeck::app

#include "daemon/app/run_cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "daemon/app/cgroup_tree.h"
#include "daemon/base/log.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

constexpr std::string_view kPrefix = "tapdeck-run-";
constexpr std::chrono::milliseconds kKillLimit{5000};
constexpr int kMostNames = 1000;  // to be tried before we give up

// The PID in "tapdeck-run-PID-n".
std::optional<pid_t> owner_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr == name.data() + name.size() || *parsed.ptr != '-') return std::nullopt;
  return pid;
}

bool is_of_a_run(const std::string& cgroup) {
  return owner_of(std::string_view(cgroup).substr(cgroup.rfind('/') + 1)).has_value();
}

// The lock on a run's cgroup, whichever process namespace the run lives in: the living hold theirs, and who has it may
// end what lives there. Not their pid: that may long be another process's. Not valid: there is no such directory.
Result<UniqueFd> lock_of_the_dead(const std::string& cgroup) {
  UniqueFd fd(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return fd;
  if (!fd) return fail_errno(errno, "look whether the run of " + cgroup + " lives", Origin::Kernel);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return fail(Code::Busy, cgroup + " is of a run that lives");
  return fail_errno(errno, "look whether the run of " + cgroup + " lives", Origin::Kernel);
}

// Waits for who looks just now whether we are dead. Is `fd` still the directory at `path` then? Who looked took it
// away.
Result<bool> lock_as_the_living(const UniqueFd& fd, const std::string& path) {
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "lock the cgroup " + path, Origin::Kernel);
  }
  struct stat ours{};
  struct stat there{};
  return ::fstat(fd.get(), &ours) == 0 && ::stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino;
}

// Where a run makes its cgroup, the better place first: below its own, else below the root of the mount.
Result<std::vector<std::string>> parents() {
  TRY(mount, kernel::find_cgroup2_mount());
  TRY(own, kernel::cgroup2_line("/proc/self/cgroup"));
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
  clear_dead_run_cgroups_below(parent);
  const std::string prefix = parent + "/" + std::string(kPrefix) + std::to_string(::getpid()) + "-";
  int error = EEXIST;
  for (int tries = 0; tries < kMostNames && (error == EEXIST || error == ENOENT); ++tries) {
    std::string path = prefix + std::to_string(serial.fetch_add(1));
    if (::mkdir(path.c_str(), 0755) != 0) {
      error = errno;
      // One of our number before us left it, and it could not be removed.
      if (error == EEXIST) continue;
      const bool is_forbidden = error == EACCES;
      return fail_errno(error,
                        "make the cgroup " + path +
                            (is_forbidden ? " (needs CAP_DAC_OVERRIDE, or to be started in a cgroup that is delegated "
                                            "to this user)"
                                          : ""),
                        Origin::Kernel);
    }
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    error = fd ? 0 : errno;
    if (error == ENOENT) continue;  // taken for a dead one's, as we had not locked it yet
    if (error != 0) {
      ::rmdir(path.c_str());
      return fail_errno(error, "open the cgroup " + path, Origin::Kernel);
    }
    const auto ours = lock_as_the_living(fd, path);
    if (!ours) {
      ::rmdir(path.c_str());
      return std::unexpected(ours.error());
    }
    if (*ours) return std::unique_ptr<RunCgroup>(new RunCgroup(std::move(path), std::move(fd)));
    error = ENOENT;
  }
  return fail_errno(error, "make a cgroup " + prefix + "N", Origin::Kernel);
}

RunCgroup::~RunCgroup() {
  ignore(remove(), "the next start removes it");
}

std::vector<pid_t> RunCgroup::pids() const {
  return pids_in(path_);
}

size_t RunCgroup::end_leftovers(std::chrono::milliseconds settle, std::chrono::milliseconds grace) {
  if (path_.empty() || wait_until_empty(path_, settle) == Population::Nobody) return 0;
  const std::vector<pid_t> left = pids();
  for (const pid_t pid : left) {
    if (pid > 0) ::kill(pid, SIGTERM);  // 0: of another process namespace
  }
  if (wait_until_empty(path_, grace) != Population::Nobody) {
    ignore(kill_all_in(path_, grace),
           "one in uninterruptible sleep may take longer: the next start removes its cgroup");
  }
  return left.size();
}

Result<void> RunCgroup::remove() {
  if (path_.empty()) return {};
  TRY_VOID(remove_cgroup(path_));
  path_.clear();
  return {};
}

Result<void> clear_dead_run_cgroup(const std::string& cgroup) {
  struct stat there{};
  if (::stat(cgroup.c_str(), &there) != 0 && errno == ENOENT) return {};
  if (!is_of_a_run(cgroup)) return fail(Code::Busy, cgroup + " is not of a run");
  TRY(lock, lock_of_the_dead(cgroup));  // until it is gone
  if (!lock) return {};
  if (wait_until_empty(cgroup, std::chrono::milliseconds(0)) != Population::Nobody) {
    const std::vector<pid_t> left = pids_in(cgroup);
    // In a run within one that is dead, for one.
    if (std::ranges::find(left, ::getpid()) != left.end()) {
      return fail(Code::Unsupported, "we are ourselves in " + cgroup + ", of a run that is dead: it stays until `" +
                                         "tapdeck clean` from outside");
    }
    if (auto killed = kill_all_in(cgroup, kKillLimit); !killed) {
      killed.error().detail += ": they stay captured, or refused, until `sudo tapdeck clean` outside the service";
      return killed;
    }
    log::warn("run.survivors_killed", "processes of a run that was killed had outlived it",
              {{"cgroup", cgroup}, {"processes", left.size()}});
  }
  if (const auto removed = remove_cgroup(cgroup); !removed) {
    log::info("run.cgroup_stays", removed.error().message(), {{"cgroup", cgroup}});
  }
  return {};
}

size_t clear_dead_run_cgroups_below(const std::string& parent) {
  size_t count = 0;
  for (const std::string& cgroup : cgroups_below(parent)) {
    if (!is_of_a_run(cgroup)) continue;
    const auto cleared = clear_dead_run_cgroup(cgroup);
    if (cleared) ++count;
    if (!cleared && cleared.error().code != Code::Busy) {
      log::warn("run.leftovers", cleared.error().message(), {{"cgroup", cgroup}});
    }
  }
  return count;
}

void clear_dead_run_cgroups() {
  const auto places = parents();
  if (!places) return;
  for (const std::string& place : *places) clear_dead_run_cgroups_below(place);
}

}  // namespace tapdeck::app

#include "daemon/app/cgroup_tree.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

// Depth first; the errno of the first rmdir that failed, 0 when all went.
int remove_tree(const std::string& path) {
  int worst = 0;
  for (const std::string& below : cgroups_below(path)) {
    if (const int error = remove_tree(below); worst == 0) worst = error;
  }
  if (worst != 0) return worst;
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

// In it and below. 0, or the errno of the first cgroup that could not be read. Processes that our process namespace
// does not show are 0.
int collect_pids(const std::string& cgroup, std::vector<pid_t>& out) {
  const UniqueFd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return errno == ENOENT ? 0 : errno;
  return kernel::read_cgroup_processes(directory.get(), out);
}

// 0, or the errno.
int write_word(const std::string& file, std::string_view word) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return ::write(fd.get(), word.data(), word.size()) == static_cast<ssize_t>(word.size()) ? 0 : errno;
}

int kill_one(const std::string& cgroup, pid_t pid) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return errno == ESRCH ? 0 : errno;
  // The number may have become another's before we had the descriptor; what it names from here on stays the same.
  std::vector<pid_t> now;
  if (const int error = collect_pids(cgroup, now); error != 0) return error;
  if (std::ranges::find(now, pid) == now.end()) return 0;
  if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH) return 0;
  return errno;
}

// One by one: 0 when at least one of them got its signal or none was there, else the errno of the first that did not.
int kill_each(const std::string& cgroup) {
  std::vector<pid_t> pids;
  if (const int error = collect_pids(cgroup, pids); error != 0) return error;
  int first = 0;
  bool some = pids.empty();
  for (const pid_t pid : pids) {
    // kill(0) would be our own process group.
    const int error = pid > 0 ? kill_one(cgroup, pid) : ESRCH;
    some = some || error == 0;
    if (first == 0) first = error;
  }
  return some ? 0 : first;
}

Population population(int events) {
  char text[256];
  const ssize_t n = ::pread(events, text, sizeof text, 0);
  if (n < 0) return errno == ENODEV ? Population::Nobody : Population::Unknown;  // ENODEV: somebody removed it
  const std::string_view all(text, static_cast<size_t>(n));
  if (all.contains("populated 0")) return Population::Nobody;
  return all.contains("populated 1") ? Population::Somebody : Population::Unknown;
}

}  // namespace

std::vector<std::string> cgroups_below(const std::string& cgroup) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(cgroup, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored) && !it->is_symlink(ignored)) found.push_back(it->path().string());
  }
  return found;
}

std::vector<pid_t> pids_in(const std::string& cgroup) {
  std::vector<pid_t> out;
  ignore(collect_pids(cgroup, out), "those that may be looked at");
  return out;
}

Population wait_until_empty(const std::string& cgroup, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  const UniqueFd events(::open((cgroup + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  if (!events) {
    struct stat directory{};
    const bool gone = errno == ENOENT && ::stat(cgroup.c_str(), &directory) != 0 && errno == ENOENT;
    return gone ? Population::Nobody : Population::Unknown;
  }
  for (;;) {
    const Population now = population(events.get());
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (now != Population::Somebody || left <= 0) return now;
    // The kernel raises POLLPRI when "populated" changes.
    pollfd poll_fd{events.get(), POLLPRI, 0};
    ::poll(&poll_fd, 1, static_cast<int>(left));
  }
}

Result<void> kill_all_in(const std::string& cgroup, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  // It fails before Linux 5.14, which has no such file, and where cgroups are read-only or not ours, as in the unit's
  // sandbox: then one by one, again and again, for they may fork meanwhile.
  const bool at_once = write_word(cgroup + "/cgroup.kill", "1") == 0;
  for (;;) {
    if (const int error = at_once ? 0 : kill_each(cgroup); error != 0) {
      if (wait_until_empty(cgroup, std::chrono::milliseconds(0)) == Population::Nobody) return {};
      return fail_errno(error, "kill the processes in " + cgroup, Origin::Kernel);
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    const std::chrono::milliseconds round(at_once ? left : std::min(left, std::chrono::milliseconds(20)));
    const Population now = wait_until_empty(cgroup, round);
    if (now == Population::Nobody) return {};
    if (now == Population::Unknown) return fail(Code::Internal, "cannot see who lives in " + cgroup, Origin::Kernel);
    if (Clock::now() >= until) return fail(Code::Timeout, "a process in " + cgroup + " does not end", Origin::Kernel);
  }
}

Result<void> remove_cgroup(const std::string& cgroup) {
  // EBUSY for a moment after the last process is gone: the kernel takes it out of the cgroup when it is reaped.
  const auto until = Clock::now() + std::chrono::seconds(1);
  int error = remove_tree(cgroup);
  while (error == EBUSY && Clock::now() < until && pids_in(cgroup).empty()) {
    ::usleep(5000);
    error = remove_tree(cgroup);
  }
  if (error != 0) return fail_errno(error, "remove the cgroup " + cgroup, Origin::Kernel);
  return {};
}

}  // namespace tapdeck::app

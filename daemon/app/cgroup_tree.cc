#include "daemon/app/cgroup_tree.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "daemon/base/unique_fd.h"

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

void collect_pids(const std::string& path, std::vector<pid_t>& out) {
  std::ifstream procs(path + "/cgroup.procs");
  for (pid_t pid = 0; procs >> pid;) out.push_back(pid);
  for (const std::string& below : cgroups_below(path)) collect_pids(below, out);
}

bool write_word(const std::string& file, std::string_view word) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), word.data(), word.size()) == static_cast<ssize_t>(word.size());
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
  collect_pids(cgroup, out);
  return out;
}

bool wait_until_empty(const std::string& cgroup, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  const UniqueFd events(::open((cgroup + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  if (!events) return pids_in(cgroup).empty();
  for (;;) {
    char text[256];
    const ssize_t n = ::pread(events.get(), text, sizeof text, 0);
    if (n <= 0) return true;  // ENODEV: somebody removed it
    if (std::string_view(text, static_cast<size_t>(n)).find("populated 0") != std::string_view::npos) return true;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    // The kernel raises POLLPRI when "populated" changes.
    pollfd poll_fd{events.get(), POLLPRI, 0};
    ::poll(&poll_fd, 1, static_cast<int>(left));
  }
}

bool kill_all_in(const std::string& cgroup, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  // Before Linux 5.14 there is no cgroup.kill: one by one, again and again, for they may fork meanwhile.
  const bool at_once = write_word(cgroup + "/cgroup.kill", "1");
  for (;;) {
    if (!at_once) {
      for (const pid_t pid : pids_in(cgroup)) ::kill(pid, SIGKILL);
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    const std::chrono::milliseconds round(at_once ? left : std::min(left, std::chrono::milliseconds(20)));
    if (wait_until_empty(cgroup, round)) return true;
    if (Clock::now() >= until) return false;
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

#include "daemon/app/run_cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>

#include "daemon/app/cgroup2.h"
#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kPrefix = "tapdeck-run-";

std::vector<std::string> subdirectories(const std::string& path) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored) && !it->is_symlink(ignored)) found.push_back(it->path().string());
  }
  return found;
}

void collect_pids(const std::string& path, std::vector<pid_t>& out) {
  std::ifstream procs(path + "/cgroup.procs");
  for (pid_t pid = 0; procs >> pid;) out.push_back(pid);
  for (const std::string& below : subdirectories(path)) collect_pids(below, out);
}

// Depth first; the errno of the first rmdir that failed, 0 when all went.
int remove_tree(const std::string& path) {
  int worst = 0;
  for (const std::string& below : subdirectories(path)) {
    if (const int error = remove_tree(below); worst == 0) worst = error;
  }
  if (worst != 0) return worst;
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

// The PID in "tapdeck-run-PID-n".
std::optional<pid_t> owner_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr == name.data() + name.size() || *parsed.ptr != '-') return std::nullopt;
  return pid;
}

bool write_word(const std::string& file, std::string_view word) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), word.data(), word.size()) == static_cast<ssize_t>(word.size());
}

}  // namespace

namespace {

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
  return std::unique_ptr<RunCgroup>(new RunCgroup(std::move(path), std::move(fd)));
}

RunCgroup::~RunCgroup() {
  ignore(remove(), "the next start removes it");
}

std::vector<pid_t> RunCgroup::pids() const {
  std::vector<pid_t> out;
  collect_pids(path_, out);
  return out;
}

bool RunCgroup::wait_empty(std::chrono::milliseconds limit) const {
  const auto until = Clock::now() + limit;
  const UniqueFd events(::openat(fd_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) return pids().empty();
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

void RunCgroup::kill_all() const {
  if (write_word(path_ + "/cgroup.kill", "1")) return;
  // Before Linux 5.14, one by one; processes may fork meanwhile, hence the second round.
  for (int round = 0; round < 2; ++round) {
    for (const pid_t pid : pids()) ::kill(pid, SIGKILL);
  }
}

size_t RunCgroup::end_leftovers(std::chrono::milliseconds settle, std::chrono::milliseconds grace) {
  if (path_.empty() || wait_empty(settle)) return 0;
  const std::vector<pid_t> left = pids();
  for (const pid_t pid : left) ::kill(pid, SIGTERM);
  if (!wait_empty(grace)) {
    kill_all();
    ignore(wait_empty(grace), "a process in uninterruptible sleep may take longer: the next start removes its cgroup");
  }
  return left.size();
}

Result<void> RunCgroup::remove() {
  if (path_.empty()) return {};
  // EBUSY for a moment after the last process is gone: the kernel takes it out of the cgroup when it is reaped.
  const auto until = Clock::now() + std::chrono::seconds(1);
  int error = remove_tree(path_);
  while (error == EBUSY && Clock::now() < until && pids().empty()) {
    ::usleep(5000);
    error = remove_tree(path_);
  }
  if (error != 0) return fail_errno(error, "remove the cgroup " + path_, Origin::Kernel);
  path_.clear();
  return {};
}

size_t remove_stale_run_cgroups(const std::string& parent) {
  size_t count = 0;
  for (const std::string& path : subdirectories(parent)) {
    const std::optional<pid_t> owner = owner_of(std::string_view(path).substr(path.rfind('/') + 1));
    if (!owner || is_alive(*owner)) continue;
    if (remove_tree(path) == 0) ++count;
  }
  return count;
}

void remove_dead_run_cgroups() {
  const auto places = parents();
  if (!places) return;
  for (const std::string& place : *places) remove_stale_run_cgroups(place);
}

}  // namespace tapdeck::app

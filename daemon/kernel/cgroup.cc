#include "daemon/kernel/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "daemon/base/mount_path.h"

namespace tapdeck::kernel {
namespace {

Result<std::string> read_whole(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail_errno(errno, "open " + path, Origin::Kernel);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// 0, or the errno.
int read_at(int directory, const char* name, std::string& text) {
  const UniqueFd fd(::openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return errno;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n <= 0) return n < 0 ? errno : 0;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

// Removed meanwhile; or threaded, and the cgroup above lists its processes.
int unless_empty(int error) {
  return error == ENOENT || error == ENODEV || error == EOPNOTSUPP ? 0 : error;
}

int read_here(int directory, std::vector<int>& out) {
  std::string text;
  const int error = read_at(directory, "cgroup.procs", text);
  std::istringstream pids(text);
  for (int pid = 0; pids >> pid;) out.push_back(pid);
  return unless_empty(error);
}

// Those that can be opened.
std::vector<int> shown(std::vector<int> pids) {
  std::erase(pids, 0);
  return pids;
}

}  // namespace

std::optional<std::string> parse_cgroup2_mount(const std::string& proc_mounts) {
  std::istringstream lines(proc_mounts);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string device, directory, type;
    fields >> device >> directory >> type;
    if (type == "cgroup2") return unescape_mount_path(directory);
  }
  return std::nullopt;
}

std::optional<std::string> parse_cgroup2_path(const std::string& proc_pid_cgroup) {
  std::istringstream lines(proc_pid_cgroup);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return std::nullopt;
}

Result<std::string> find_cgroup2_mount(const std::string& mounts_file) {
  TRY(mounts, read_whole(mounts_file));
  if (auto path = parse_cgroup2_mount(mounts)) return *path;
  return fail(Code::Unsupported,
              "cgroup2 is not mounted (" + mounts_file + "); mount it: mount -t cgroup2 none /sys/fs/cgroup",
              Origin::Kernel);
}

Result<std::string> cgroup2_line(const std::string& cgroup_file) {
  TRY(text, read_whole(cgroup_file));
  if (auto path = parse_cgroup2_path(text)) return *path;
  return fail(Code::NotFound, cgroup_file + " has no cgroup2 line", Origin::Kernel);
}

Result<std::string> cgroup2_with_id(uint64_t id) {
  constexpr int kKernfsHandle = 0xfe;  // FILEID_KERNFS: the handle is the id
  TRY(mount, find_cgroup2_mount());
  const UniqueFd root(::open(mount.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  alignas(file_handle) std::array<char, sizeof(file_handle) + sizeof(id)> memory{};
  auto* handle = reinterpret_cast<file_handle*>(memory.data());
  handle->handle_bytes = sizeof(id);
  handle->handle_type = kKernfsHandle;
  std::memcpy(memory.data() + sizeof(file_handle), &id, sizeof(id));
  const UniqueFd found(::open_by_handle_at(root.get(), handle, O_PATH | O_CLOEXEC));
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(found.get());
  const ssize_t length = found ? ::readlink(link.c_str(), path.data(), path.size()) : -1;
  if (length <= 0) return fail_errno(ENOENT, "cgroup " + std::to_string(id), Origin::Kernel);
  return std::string(path.data(), static_cast<size_t>(length));
}

Result<UniqueFd> open_cgroup(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open cgroup " + path, Origin::Kernel);
  struct statfs info{};
  if (::fstatfs(fd.get(), &info) != 0) return fail_errno(errno, "statfs " + path, Origin::Kernel);
  if (info.f_type != CGROUP2_SUPER_MAGIC) {
    return fail(Code::InvalidArgument, path + " is not a cgroup2 directory (a v1 hierarchy, or no cgroup at all)");
  }
  return fd;
}

int read_cgroup_processes(int cgroup_fd, std::vector<int>& out) {
  int worst = read_here(cgroup_fd, out);
  const auto note = [&worst](int error) { worst = worst != 0 ? worst : unless_empty(error); };
  const int copy = ::openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) note(errno);
  if (copy < 0) return worst;
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(copy), &::closedir);
  while (const dirent* entry = list ? ::readdir(list.get()) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    const UniqueFd child(::openat(cgroup_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    note(child ? read_cgroup_processes(child.get(), out) : errno);
  }
  return worst;
}

std::vector<int> cgroup_processes(int cgroup_fd) {
  std::vector<int> out;
  ignore(read_cgroup_processes(cgroup_fd, out), "those that may be looked at");
  return shown(std::move(out));
}

std::vector<int> cgroup_own_processes(int cgroup_fd) {
  std::vector<int> out;
  ignore(read_here(cgroup_fd, out), "those that may be looked at");
  return shown(std::move(out));
}

std::optional<bool> cgroup_populated(int events_fd) {
  std::array<char, 256> buffer{};
  const ssize_t n = ::pread(events_fd, buffer.data(), buffer.size(), 0);
  if (n <= 0) return std::nullopt;  // ENODEV: removed
  return std::string_view(buffer.data(), static_cast<size_t>(n)).find("populated 1") != std::string_view::npos;
}

}  // namespace tapdeck::kernel

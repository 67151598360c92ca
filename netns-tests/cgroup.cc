#include "netns-tests/cgroup.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/process.h"

namespace tapdeck::lab {
namespace {

void remove_cgroup(const std::filesystem::path& path) {
  std::ofstream(path / "cgroup.kill") << "1";
  // A cgroup stays busy until the last of its processes is reaped.
  static_cast<void>(eventually(5s, [&] { return ::rmdir(path.c_str()) == 0 || errno == ENOENT; }));
}

}  // namespace

std::filesystem::path cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, where, type;
    fields >> device >> where >> type;
    if (type == "cgroup2") return where;
  }
  raise("no cgroup2 mount in /proc/self/mounts");
}

Cgroup::Cgroup(const std::string& role) : path_(cgroup2_mount() / ("td-" + role + "-" + std::to_string(::getpid()))) {
  std::filesystem::create_directory(path_);
}

Cgroup::~Cgroup() {
  remove_cgroup(path_);
}

void Cgroup::recreate() {
  remove_cgroup(path_);
  std::filesystem::create_directory(path_);
}

void remove_leftover_cgroups() {
  for (const auto& entry : std::filesystem::directory_iterator(cgroup2_mount())) {
    const auto name = entry.path().filename().string();
    const auto dash = name.rfind('-');
    if (!entry.is_directory() || !name.starts_with("td-") || dash == std::string::npos) continue;
    const int pid = std::atoi(name.c_str() + dash + 1);
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) remove_cgroup(entry.path());
  }
}

}  // namespace tapdeck::lab

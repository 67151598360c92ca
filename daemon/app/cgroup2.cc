#include "daemon/app/cgroup2.h"

#include <cerrno>
#include <fstream>
#include <sstream>

namespace tapdeck::app {

Result<std::string> find_cgroup2_mount(const std::string& mounts_file) {
  std::ifstream mounts(mounts_file);
  if (!mounts) return fail_errno(errno, "open " + mounts_file);
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device;
    std::string point;
    std::string type;
    fields >> device >> point >> type;
    // The mount table writes a space as \040; no cgroup2 mount anybody uses has one.
    if (type == "cgroup2" && point.find('\\') == std::string::npos) return point;
  }
  return fail(Code::Unsupported,
              "cgroup2 is not mounted (" + mounts_file + "); mount it: mount -t cgroup2 none /sys/fs/cgroup",
              Origin::Kernel);
}

Result<std::string> cgroup2_line(const std::string& cgroup_file) {
  std::ifstream file(cgroup_file);
  if (!file) return fail_errno(errno, "open " + cgroup_file);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return fail(Code::NotFound, cgroup_file + " has no cgroup2 line", Origin::Kernel);
}

}  // namespace tapdeck::app

#include "daemon/kernel/held_programs.h"

#include <bpf/bpf.h>
#include <sys/stat.h>

#include <utility>

namespace tapdeck::kernel {

std::vector<UniqueFd> hold_programs_on(const std::string& cgroup_path) {
  std::vector<UniqueFd> held;
  struct stat directory{};
  if (::stat(cgroup_path.c_str(), &directory) != 0) return held;
  for (__u32 id = 0; bpf_link_get_next_id(id, &id) == 0;) {
    UniqueFd fd(bpf_link_get_fd_by_id(id));
    bpf_link_info info{};
    __u32 size = sizeof(info);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
    // A cgroup's id is the inode of its directory.
    if (info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == directory.st_ino) held.push_back(std::move(fd));
  }
  return held;
}

}  // namespace tapdeck::kernel

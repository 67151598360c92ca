// Cgroup: one cgroup2 directory of the test's own, removed with the object (its processes are killed first).
//
// cgroup2 is looked for in /proc/self/mounts; on hybrid hosts it lies below a v1 hierarchy. No controllers are enabled:
// the lab needs only the directory that programs attach to.
#pragma once

#include <filesystem>
#include <string>

namespace tapdeck::lab {

class Cgroup {
 public:
  explicit Cgroup(const std::string& role);
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  ~Cgroup();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // Removes and makes it again under the same name, as a restarted container or unit does.
  void recreate();

 private:
  std::filesystem::path path_;
};

// Where cgroup2 is mounted; LabError when it is not.
[[nodiscard]] std::filesystem::path cgroup2_mount();
void remove_leftover_cgroups();

}  // namespace tapdeck::lab

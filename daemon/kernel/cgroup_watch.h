// CgroupWatch: says which cgroups below a target have just got processes, so that their network namespaces have
// listeners before the first connect. A process joins its cgroup, changes its namespace, and only then becomes the
// program: nothing tells of the middle step, so a cgroup that was joined is looked at again and again for a few
// seconds, ever less often. Knows directories, not processes or namespaces. Owned by Capture. Thread: control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

class CgroupWatch {
 public:
  // Two inotify watches a directory. What is beyond the bound is not watched, and said once.
  static constexpr size_t kMaxDirectories = 2048;
  // Exhausted: no inotify instance or timer to be had.
  [[nodiscard]] static Result<std::unique_ptr<CgroupWatch>> open(size_t max_directories = kMaxDirectories);
  CgroupWatch(const CgroupWatch&) = delete;
  CgroupWatch& operator=(const CgroupWatch&) = delete;

  // Watches this directory of the target and all below, those made later too.
  void add(uint32_t target, const std::string& directory);
  void remove(uint32_t target);

  // Looks at the processes of one directory, not of those below; false: there are none, the directory may be gone.
  using Look = std::function<bool(uint32_t target, const std::string& directory)>;
  // When one of the descriptors is readable: takes in what happened, then looks at what is due. True: events were lost,
  // and every target has to be looked at as a whole.
  [[nodiscard]] bool work(const Look& look);
  [[nodiscard]] int events_fd() const { return inotify_.get(); }
  [[nodiscard]] int timer_fd() const { return timer_.get(); }

  [[nodiscard]] size_t directories() const { return directories_.size(); }

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Directory {
    std::string path;
    uint64_t targets = 0;  // bit per target
    int events_watch = -1;
  };
  struct Activity {
    Time joined;
    Time due;
    Time not_before;  // a look that took long is not repeated soon, whatever happens
    bool looked;      // since the last join
  };
  enum class Fresh : uint8_t { No, Yes };

  explicit CgroupWatch(size_t max_directories) : max_directories_(max_directories) {}
  void add_tree(uint64_t targets, const std::string& path, Fresh fresh);
  void add_children(uint64_t targets, const std::string& path, Fresh fresh);
  void forget(int watch);
  void forget_path(const std::string& path);
  void drop_the_gone();
  void wake(int watch);
  void look_at(int watch, const Look& look);
  void arm();
  void say_full(const char* why);

  const size_t max_directories_;
  UniqueFd inotify_;
  UniqueFd timer_;
  std::map<uint32_t, std::string> roots_;  // by target
  std::map<int, Directory> directories_;   // by watch descriptor
  std::map<int, int> events_;              // watch of a cgroup.events -> that of its directory
  std::map<std::string, int> by_path_;
  Time rest_until_;                 // of all looks but the first after a join
  std::map<int, Activity> active_;  // by watch descriptor of the directory
  bool said_full_ = false;
};

}  // namespace tapdeck::kernel

// CgroupTarget: one slot that captures a cgroup: its programs, its directory, whether the directory is still there.
// Follows the directory when it is removed and made again. Does not make listeners (NetnsTable).
// Thread: control thread.
#pragma once

#include <memory>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/run_directory.h"

namespace tapdeck::kernel {

enum class Pinned : uint8_t { No, Yes };
enum class Filtered : uint8_t { No, Yes };  // every packet is looked at: of sealed targets, or for names

class CgroupTarget {
 public:
  // Loads programs; attaches nothing yet. NotFound, InvalidArgument, Permission.
  [[nodiscard]] static Result<std::unique_ptr<CgroupTarget>> open(const BpfMaps& maps, uint32_t slot, uint32_t mark,
                                                                  const std::string& path);
  // Attaches to the directory that is open now.
  [[nodiscard]] Result<void> attach(RunDirectory& run, Pinned pinned, Filtered filtered);
  [[nodiscard]] Result<void> set_pinned(RunDirectory& run, Pinned pinned);
  // Sealing: before set_pinned() and before the policy is written; unsealing: after.
  [[nodiscard]] Result<void> set_filtered(Filtered filtered);
  void detach() { programs_->detach(); }
  [[nodiscard]] uint32_t connect_program() const { return programs_->connect_program(); }

  // False once the directory was removed; then reopen() says whether there is one again.
  [[nodiscard]] bool alive() const;
  [[nodiscard]] bool reopen();
  [[nodiscard]] bool gone() const { return gone_; }
  void mark_gone();

  // The kernel's cgroup id: the inode number of its directory. 0 when gone.
  [[nodiscard]] uint64_t id() const;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int directory_fd() const { return directory_.get(); }
  [[nodiscard]] int events_fd() const { return events_.get(); }
  // True when a process was seen in it and now there is none; remembers the state.
  [[nodiscard]] bool became_empty();

 private:
  CgroupTarget(uint32_t slot, std::string path) : slot_(slot), path_(std::move(path)) {}
  [[nodiscard]] Result<void> open_directory();

  const uint32_t slot_;
  const std::string path_;
  UniqueFd directory_;
  UniqueFd events_;  // cgroup.events: readable (EPOLLPRI) when `populated` changes
  std::unique_ptr<CgroupPrograms> programs_;
  bool gone_ = false;
  bool was_populated_ = false;
};

}  // namespace tapdeck::kernel

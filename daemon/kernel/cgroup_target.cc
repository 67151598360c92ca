#include "daemon/kernel/cgroup_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/processes.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::kernel {

Result<std::unique_ptr<CgroupTarget>> CgroupTarget::open(const BpfMaps& maps, uint32_t slot, uint32_t mark,
                                                         const std::string& path) {
  std::unique_ptr<CgroupTarget> out(new CgroupTarget(slot, path));
  TRY_VOID(out->open_directory());
  TRY(programs, CgroupPrograms::load(maps, slot, mark));
  out->programs_ = std::move(programs);
  return out;
}

Result<void> CgroupTarget::open_directory() {
  TRY(directory, open_cgroup(path_));
  UniqueFd events(::openat(directory.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events && errno != ENOENT) return fail_errno(errno, "open cgroup.events of " + path_, Origin::Kernel);
  directory_ = std::move(directory);
  events_ = std::move(events);  // none: the root cgroup, which is never empty and never goes
  was_populated_ = !events_ || cgroup_populated(events_.get()).value_or(false);
  gone_ = false;
  return {};
}

Result<void> CgroupTarget::attach(RunDirectory& run, Pinned pinned, Filtered filtered) {
  auto attached = set_filtered(filtered);
  if (attached) attached = programs_->attach(directory_.get());
  if (!attached) {
    programs_->detach();
    return attached;
  }
  return set_pinned(run, pinned);
}

Result<void> CgroupTarget::set_filtered(Filtered filtered) {
  if (filtered == Filtered::Yes) return programs_->attach_filters(directory_.get());
  programs_->detach_filters();
  return {};
}

Result<void> CgroupTarget::set_pinned(RunDirectory& run, Pinned pinned) {
  if (pinned == Pinned::No) {
    programs_->unpin();
    return {};
  }
  TRY(directory, run.pin_directory());
  // Apart from a predecessor's, whose pins may still be there: in a container it had our process id.
  const std::string owner = std::to_string(::getpid()) + "-" + std::to_string(start_time(::getpid()));
  return programs_->pin(directory + "/" + owner + "-" + std::to_string(slot_) + "-");
}

bool CgroupTarget::alive() const {
  return !events_ || cgroup_populated(events_.get()).has_value();
}

uint64_t CgroupTarget::id() const {
  struct stat info{};
  return directory_ && ::fstat(directory_.get(), &info) == 0 ? info.st_ino : 0;
}

bool CgroupTarget::reopen() {
  return open_directory().has_value();
}

void CgroupTarget::mark_gone() {
  gone_ = true;
  programs_->detach();
  events_.reset();
  directory_.reset();
}

bool CgroupTarget::became_empty() {
  const bool now = !events_ || cgroup_populated(events_.get()).value_or(false);
  const bool emptied = was_populated_ && !now;
  was_populated_ = now;
  return emptied;
}

}  // namespace tapdeck::kernel

// CaptureImpl, processes that leave the cgroups of targets. Control thread.
#include <cstring>

#include "daemon/base/log.h"
#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::kernel {

// Made with the first cgroup target: who captures interfaces alone has no use for them.
void CaptureImpl::watch_escapes(uint32_t target) {
  Result<void> watched;
  if (!tried_escapes_) {
    tried_escapes_ = true;
    if (auto made = Escapes::watch(*maps_)) {
      escapes_ = std::move(*made);
    } else {
      watched = std::unexpected(made.error());
    }
  }
  if (escapes_) watched = escapes_->add(target, slots_[target].cgroup->id());
  if (watched) return;
  log::info("capture.escapes", "processes that leave the cgroup of a target cannot be seen here (left_cgroup)",
            {{"error", watched.error().message()}});
}

void CaptureImpl::unwatch_escapes(uint32_t target) {
  if (escapes_) escapes_->remove(target);
}

void CaptureImpl::on_departure(const tapdeck_event& event) {
  Departure departure;
  departure.target = event.target;
  departure.pid = event.pid;
  std::memcpy(departure.comm.data(), event.comm, departure.comm.size());
  departure.comm.back() = '\0';
  if (const auto now_in = cgroup2_with_id(event.cgroup_id)) departure.cgroup = *now_in;
  sink_.on_left_cgroup(departure);
}

}  // namespace tapdeck::kernel

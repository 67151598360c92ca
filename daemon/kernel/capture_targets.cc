// CaptureImpl, targets: attach, replace, detach, policy. Control thread.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "daemon/base/log.h"
#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/other_filters.h"
#include "daemon/kernel/rtnetlink.h"
#include "daemon/kernel/sock_diag.h"

namespace tapdeck::kernel {

Result<void> CaptureImpl::attach_cgroup(uint32_t target, const std::string& cgroup_path, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&] { return attach_cgroup_now(target, cgroup_path, policy); });
}

Result<void> CaptureImpl::attach_interface(uint32_t target, const std::string& interface_name, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&] { return attach_interface_now(target, interface_name, policy); });
}

Result<void> CaptureImpl::attach_cgroup_now(uint32_t target, const std::string& path, TargetPolicy policy) {
  Slot& slot = slots_[target];
  if (slot.cgroup && slot.cgroup->path() == path && !slot.cgroup->gone() && slot.cgroup->alive()) {
    TRY_VOID(change_policy(target, policy));  // the programs are there already: no gap
    return cover_processes(target);
  }
  TRY(fresh, CgroupTarget::open(*maps_, target, options_.mark, path));
  TRY_VOID(check_not_taken(path, fresh->directory_fd(), own_programs()));
  if (!slot.is_free()) TRY_VOID(detach_now(target));
  slot.cgroup = std::move(fresh);
  slot.policy = policy;
  slot.has_doors = policy.names == Names::Answered;
  slot.used = true;
  slot.pre_existing += count_pre_existing(target);
  const auto begin = [&]() -> Result<void> {
    TRY_VOID(cover_processes(target));
    cover_home_if_empty(target);
    TRY_VOID(write_policy(target, policy));
    TRY_VOID(slot.cgroup->attach(*run_, pinned_of(policy), slot.filtered(policy)));
    run_->release_old_pins(slot.cgroup->id());
    return cover_processes(target);  // those that came between
  };
  if (auto begun = begin(); !begun) {
    ignore(detach_now(target), "the first error is the one to report");
    return begun;
  }
  watch_events(target);
  say_others(target);
  return {};
}

ProgramIds CaptureImpl::own_programs() const {
  ProgramIds out;
  for (const Slot& slot : slots_) {
    if (slot.cgroup) out.insert(slot.cgroup->connect_program());
  }
  for (const std::string& pin : run_->old_pins()) out.insert(pinned_program(pin));
  return out;
}

ProgramIds CaptureImpl::own_filters() const {
  ProgramIds out;
  for (const Slot& slot : slots_) {
    const auto program = slot.interface ? slot.interface->filter_program() : std::nullopt;
    if (program) out.insert(*program);
  }
  return out;
}

void CaptureImpl::say_others(uint32_t target) {
  Slot& slot = slots_[target];
  const ProgramIds ours = own_programs();
  slot.others = others_below(slot.cgroup->path(), ours);
  if (!slot.others.empty()) {
    log::warn("capture.others", "another tapdeck captures a part of a target",
              {{"target", target}, {"cgroup", slot.cgroup->path()}, {"others", slot.others}});
    return;
  }
  const std::string filter = filters_on(slot.cgroup->directory_fd());
  if (!filter.empty()) {
    log::warn("capture.filtered", "a target may have a packet filter of its own",
              {{"target", target}, {"cgroup", slot.cgroup->path()}, {"filter", filter}});
  }
  slot.others = others_above(slot.cgroup->path(), ours);
  if (slot.others.empty()) {
    slot.others = filter;
    return;
  }
  log::info("capture.others", "a target is a part of what another tapdeck captures",
            {{"target", target}, {"cgroup", slot.cgroup->path()}, {"others", slot.others}});
}

Result<void> CaptureImpl::attach_interface_now(uint32_t target, const std::string& name, TargetPolicy policy) {
  Slot& slot = slots_[target];
  TRY_VOID(check_interface_not_taken(name, own_filters()));
  if (!slot.is_free()) TRY_VOID(detach_now(target));
  TRY(fresh, TcTarget::open(*maps_, options_, target, name, home_cookie_, sink_,
                            [this] { return netns_->next_listener_id(); }));
  slot.interface = std::move(fresh);
  slot.policy = policy;
  slot.used = true;
  const auto begin = [&]() -> Result<void> {
    TRY_VOID(need_steering());
    TRY_VOID(write_policy(target, policy));
    TRY_VOID(slot.interface->attach(*run_, policy));
    if (!steering_trouble_.empty()) begin_gap(target, steering_trouble_);
    return {};
  };
  if (auto begun = begin(); !begun) {
    ignore(detach_now(target), "the first error is the one to report");
    return begun;
  }
  return {};
}

Result<void> CaptureImpl::write_policy(uint32_t target, TargetPolicy policy) const {
  tapdeck_target value{};
  value.active = 1;
  value.closed = is_closed(policy) ? 1 : 0;
  value.sealed = policy.sealed == Sealed::Yes ? 1 : 0;
  value.refuses = slots_[target].refused.empty() ? 0 : 1;
  value.unsteered = steering_trouble_.empty() ? 0 : 1;
  value.names = static_cast<__u32>(policy.names);
  return maps_->set_target(target, value);
}

Result<void> CaptureImpl::set_policy(uint32_t target, TargetPolicy policy) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&]() -> Result<void> {
    if (slots_[target].is_free()) return fail(Code::NotFound, "no target in this slot");
    return change_policy(target, policy);
  });
}

Result<void> CaptureImpl::change_policy(uint32_t target, TargetPolicy policy) {
  Slot& slot = slots_[target];
  const bool live = slot.cgroup && !slot.cgroup->gone();
  slot.has_doors = slot.has_doors || policy.names == Names::Answered;
  if (live && slot.filtered(policy) == Filtered::Yes) TRY_VOID(slot.cgroup->set_filtered(Filtered::Yes));
  if (live) TRY_VOID(slot.cgroup->set_pinned(*run_, pinned_of(policy)));
  if (slot.interface) ignore(slot.interface->note_policy(*run_, policy), "it is for the words of `tapdeck clean`");
  TRY_VOID(write_policy(target, policy));
  slot.policy = policy;
  return live ? slot.cgroup->set_filtered(slot.filtered(policy)) : Result<void>();
}

Result<size_t> CaptureImpl::refuse_as_recorded(uint32_t target, const std::vector<Endpoint>& destinations) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  size_t refused = 0;
  TRY_VOID(on_control([&]() -> Result<void> {
    TRY(done, refuse_now(target, destinations));
    refused = done;
    return {};
  }));
  return refused;
}

Result<size_t> CaptureImpl::refuse_now(uint32_t target, const std::vector<Endpoint>& destinations) {
  Slot& slot = slots_[target];
  if (slot.is_free()) return fail(Code::NotFound, "no target in this slot");
  drop_refused(target);
  if (slot.cgroup && has_set_retval()) {
    for (const Endpoint& destination : destinations) {
      tapdeck_refused_key key{};
      key.target = target;
      key.port = destination.port;
      to_mapped(destination, key.address);
      if (!maps_->add_refused(key)) break;
      slot.refused.push_back(key);
    }
  }
  TRY_VOID(write_policy(target, slot.policy));
  return slot.refused.size();
}

void CaptureImpl::drop_refused(uint32_t target) {
  for (const tapdeck_refused_key& key : slots_[target].refused) maps_->remove_refused(key);
  slots_[target].refused.clear();
}

Result<void> CaptureImpl::detach(uint32_t target) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  return on_control([&]() -> Result<void> {
    if (slots_[target].is_free()) return fail(Code::NotFound, "no target in this slot");
    return detach_now(target);
  });
}

Result<void> CaptureImpl::detach_now(uint32_t target) {
  Slot& slot = slots_[target];
  Result<void> result;
  if (slot.cgroup) {
    unwatch_events(target);
    unwatch_return(target);
    slot.cgroup->detach();
  }
  // What they told before is handed over: the ring has no more than these turns.
  for (int turn = 0; turn < kTurnsOfARing; ++turn) consume_events();
  maps_->disown_questions(target);
  if (slot.interface) result = slot.interface->detach(*run_);
  // Whoever has the slot next writes a record of the same name.
  if (!result) run_->keep_as_old(kFilterRecord + std::to_string(target));
  ignore(maps_->set_target(target, {}), "the programs are gone already");
  drop_refused(target);
  slot.others.clear();
  slot.trouble.clear();
  slot.gap_since = {};
  slot.has_doors = false;
  slot.cgroup.reset();
  slot.interface.reset();
  netns_->leave(target, NetnsTable::Why::Detached, std::chrono::steady_clock::now());
  drop_steering_if_unused();
  return result;
}

Result<void> CaptureImpl::prepare_netns(uint32_t target, int netns_fd) {
  if (target >= kMaxTargets) return fail(Code::InvalidArgument, "target slot out of range");
  UniqueFd copy(::fcntl(netns_fd < 0 ? home_fd_.get() : netns_fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno(errno, "dup network namespace", Origin::Kernel);
  return on_control([&] { return netns_->prepare(target, std::move(copy)); });
}

}  // namespace tapdeck::kernel

// CaptureImpl, what may happen to captured interfaces: they go and come back, and somebody else takes our filter or our
// routing rules away or puts a rule before them. Control thread.
#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/kernel/capture_impl.h"
#include "daemon/kernel/other_filters.h"
#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::kernel {

namespace {

using std::chrono::steady_clock;

tapdeck_address as_key(const Endpoint& address) {
  tapdeck_address key{};
  to_mapped(address, key.bytes);
  return key;
}

}  // namespace

Result<void> CaptureImpl::need_steering() {
  const Steering steering{options_.mark + 1, options_.route_table};
  if (!steering_) {
    // Recorded first: a crash between the two leaves a record of nothing, which is harmless.
    TRY_VOID(run_->write(kSteeringRecord, std::to_string(steering.mark) + " " + std::to_string(steering.table) + "\n"));
    steering_ = true;
    TRY_VOID(add_steering(steering));
  }
  look_at_steering();
  return {};
}

void CaptureImpl::drop_steering_if_unused() {
  const bool used = std::ranges::any_of(slots_, [](const Slot& slot) { return slot.interface != nullptr; });
  if (!steering_ || used) return;
  const Steering steering{options_.mark + 1, options_.route_table};
  if (others_need(steering, own_filters()) || remove_steering(steering)) run_->remove(kSteeringRecord);
  steering_ = false;
  steering_trouble_.clear();
}

void CaptureImpl::look_at_steering() {
  if (!steering_) return;
  note_host_addresses();
  const auto was = kernel::look_at_steering({options_.mark + 1, options_.route_table});
  if (!was) return set_steering_trouble("routing rules are missing and cannot be added: " + was.error().message());
  if (*was == SteeringWas::Overruled) {
    return set_steering_trouble(
        "a routing rule comes before ours and takes the packets of captured interfaces: see 'ip "
        "rule' and 'ip -6 rule', and give it a number above " +
        std::to_string(kRulePriority));
  }
  if (*was == SteeringWas::Incomplete && steering_trouble_.empty()) {
    // Whatever came since the last look went astray.
    set_steering_trouble("routing rules were taken away");
  }
  set_steering_trouble("");
}

// What programs do with packets that they cannot steer: pass, or drop where the target is closed.
void CaptureImpl::set_steering_trouble(std::string trouble) {
  if (trouble == steering_trouble_) return;
  steering_trouble_ = std::move(trouble);
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    const Slot& slot = slots_[target];
    if (!slot.interface) continue;
    ignore(write_policy(target, slot.policy), "an array element that is there is written");
    if (!slot.interface->attached()) continue;
    steering_trouble_.empty() ? end_gap(target) : begin_gap(target, steering_trouble_);
  }
}

void CaptureImpl::note_host_addresses() {
  const auto now = host_addresses();
  if (!now || *now == host_addresses_) return;
  for (const Endpoint& one : host_addresses_) {
    if (!now->contains(one)) maps_->remove_host_address(as_key(one));
  }
  for (const Endpoint& one : *now) {
    if (!host_addresses_.contains(one) && !maps_->add_host_address(as_key(one))) return;  // tried again
  }
  host_addresses_ = *now;
}

void CaptureImpl::look_at_interface(uint32_t target) {
  Slot& slot = slots_[target];
  if (!slot.interface) return;
  const auto presence = slot.interface->presence();
  if (presence == TcTarget::Presence::Same) {
    if (steering_trouble_.empty()) end_gap(target);
    return;
  }
  if (presence == TcTarget::Presence::Unfit) {
    begin_gap(target, "it is a port of a bridge now, and netfilter sees bridged packets");
    if (is_closed(slot.policy)) return;  // what is lost is not let through
    ignore(slot.interface->detach(*run_), "tried again with the next tick");
    return;
  }
  const bool was_attached = slot.interface->attached();
  if (presence == TcTarget::Presence::Stripped) {
    begin_gap(target, "somebody took our filter away");
  } else if (was_attached) {
    slot.interface->forget_filter(*run_);
    sink_.on_cgroup_gone(target);
  }
  if (presence == TcTarget::Presence::Gone) {
    slot.gap_since = {};
    slot.trouble.clear();
    return;
  }
  const auto attach = [&]() -> Result<void> {
    TRY_VOID(check_interface_not_taken(slot.interface->interface_name(), own_filters()));
    return slot.interface->attach(*run_, slot.policy);
  };
  if (const auto attached = attach(); !attached) {
    begin_gap(target, attached.error().message());
    return;
  }
  if (slot.gap_since == steady_clock::time_point{}) sink_.on_cgroup_back(target);
  steering_trouble_.empty() ? end_gap(target) : begin_gap(target, steering_trouble_);
}

// An interface is there and not captured, since the last look at the latest.
void CaptureImpl::begin_gap(uint32_t target, const std::string& trouble) {
  Slot& slot = slots_[target];
  if (slot.gap_since == steady_clock::time_point{}) {
    const auto now = steady_clock::now();
    slot.gap_since = last_tick_ == steady_clock::time_point{} ? now : last_tick_;
    if (slot.interface->attached()) sink_.on_cgroup_gone(target);
  }
  if (slot.trouble == trouble) return;
  slot.trouble = trouble;
  log::warn("capture.interface",
            is_closed(slot.policy) ? "an interface of a target is there and cannot be captured: it is refused"
                                   : "an interface of a target is there and cannot be captured: what it does passes",
            {{"interface", slot.interface->interface_name()}, {"error", trouble}});
}

void CaptureImpl::end_gap(uint32_t target) {
  Slot& slot = slots_[target];
  slot.trouble.clear();
  if (slot.gap_since == steady_clock::time_point{}) return;
  const auto gap = std::chrono::ceil<std::chrono::milliseconds>(steady_clock::now() - slot.gap_since);
  slot.gap_since = {};
  ++slot.gaps;
  slot.gap_total += gap;
  log::warn("capture.gap", "an interface of a target is captured again; what came meanwhile was not",
            {{"interface", slot.interface->interface_name()}, {"milliseconds", gap.count()}});
  sink_.on_cgroup_back(target);
}

}  // namespace tapdeck::kernel

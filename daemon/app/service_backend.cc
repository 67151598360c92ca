#include "daemon/app/service_backend.h"

#include <utility>

#include "daemon/app/name_policy.h"
#include "daemon/base/log.h"

namespace tapdeck::app {

void ServiceBackend::set_defaults(const Defaults& defaults) {
  const std::scoped_lock lock(defaults_mutex_);
  defaults_ = defaults;
}

Defaults ServiceBackend::defaults() const {
  const std::scoped_lock lock(defaults_mutex_);
  return defaults_;
}

Result<void> ServiceBackend::attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved,
                                    Why why) {
  const std::scoped_lock lock(mutex_);
  const kernel::TargetPolicy policy = policy_of(settings);
  lacking_.erase(slot);
  // Connections that came in late of whoever had the slot before are not this target's.
  if (!attached_.contains(slot)) engine_.tapes().vacate(slot);
  Assignment wanted = assignment(settings);
  // A restart, ours or its own, is no new take: a sequence would be cut in two.
  if (why == Why::Kept) wanted.append = store::Append::Yes;
  if (auto assigned = engine_.tapes().assign(slot, wanted); !assigned) {
    if (why == Why::Asked || !kernel::is_closed(policy)) return assigned;
    engine_.tapes().assign_without_tape(slot, assignment(settings));
    lacking_[slot] = assigned.error().message();
    log::error("target.no_session", "captured without a session: its requests get 503 until there is one",
               {{"target", slot}, {"name", settings.shown()}, {"problem", assigned.error().message()}});
  }
  engine_.refusals().forget(slot);  // of the session before
  auto captured = resolved.interface.empty() ? engine_.capture().attach_cgroup(slot, resolved.cgroup_path, policy)
                                             : engine_.capture().attach_interface(slot, resolved.interface, policy);
  if (!captured) {
    take_back(slot);
    return captured;
  }
  engine_.refusals().follow(slot, assignment(settings));
  engine_.reset_tunnels(slot);
  attached_[slot] = settings;
  log::info("target.attached", "flows are captured",
            {{"target", slot}, {"name", settings.shown()}, {"where", resolved.display}});
  return {};
}

std::string ServiceBackend::lacking(uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  const auto found = lacking_.find(slot);
  return found == lacking_.end() ? std::string() : found->second;
}

kernel::TargetStats ServiceBackend::stats_of(uint32_t slot) const {
  for (const kernel::TargetStats& target : engine_.capture().stats().targets) {
    if (target.target == slot) return target;
  }
  return {};
}

TargetBackend::Gaps ServiceBackend::gaps(uint32_t slot) {
  const kernel::TargetStats stats = stats_of(slot);
  return {stats.gaps, stats.gap_total};
}

bool ServiceBackend::is_closed(const TargetSettings& settings) {
  const std::scoped_lock lock(mutex_);
  return kernel::is_closed(policy_of(settings));
}

Result<void> ServiceBackend::update(uint32_t slot, const TargetSettings& settings) {
  const std::scoped_lock lock(mutex_);
  Assignment wanted = assignment(settings);
  if (lacking_.contains(slot)) wanted.append = store::Append::Yes;  // what attach() could not do
  TRY_VOID(engine_.tapes().assign(slot, wanted));
  lacking_.erase(slot);
  engine_.cursors().rewind(static_cast<int>(slot));
  engine_.reset_tunnels(slot);
  const auto known = attached_.find(slot);
  if (known == attached_.end()) return {};
  known->second = settings;
  engine_.refusals().follow(slot, assignment(settings));
  return engine_.capture().set_policy(slot, policy_of(settings));
}

Result<void> ServiceBackend::detach(uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  if (attached_.erase(slot) == 0) return {};
  engine_.refusals().forget(slot);
  auto detached = engine_.capture().detach(slot);
  lacking_.erase(slot);
  engine_.let_go(slot);
  if (!detached && detached.error().code == Code::NotFound) return {};
  return detached;
}

std::map<std::string, uint64_t> ServiceBackend::uncaptured(uint32_t slot) {
  std::map<std::string, uint64_t> reasons;
  const kernel::TargetStats target = stats_of(slot);
  for (size_t i = 0; i < kernel::kUncapturedReasons; ++i) {
    const auto reason = static_cast<kernel::Uncaptured>(i);
    if (target.uncaptured[i] > 0) reasons[std::string(kernel::to_string(reason))] += target.uncaptured[i];
  }
  return reasons;
}

Result<void> ServiceBackend::follow_defaults() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [slot, settings] : attached_) {
    if (settings.mode && settings.session) continue;
    TRY_VOID(engine_.tapes().assign(slot, assignment(settings)));
    lacking_.erase(slot);
    engine_.cursors().rewind(static_cast<int>(slot));
    engine_.reset_tunnels(slot);
    engine_.refusals().follow(slot, assignment(settings));
    TRY_VOID(engine_.capture().set_policy(slot, policy_of(settings)));
  }
  if (proxy_ && !(proxy_->mode && proxy_->session)) TRY_VOID(assign_proxy(*proxy_));
  return {};
}

Result<void> ServiceBackend::set_proxy(const TargetSettings& settings) {
  const std::scoped_lock lock(mutex_);
  return assign_proxy(settings);
}

Result<void> ServiceBackend::open_proxy() {
  TargetSettings settings;
  settings.title = kProxyTarget;
  settings.spec.name = kProxyTarget;
  const std::scoped_lock lock(mutex_);
  auto opened = assign_proxy(settings, store::Append::Yes);
  if (opened || opened.error().code != Code::NotFound) return opened;
  log::warn("proxy.no_session", opened.error().message());
  engine_.tapes().assign_without_tape(kProxySlot, assignment(settings));
  lacking_[kProxySlot] = opened.error().message();
  proxy_ = settings;
  return {};
}

std::optional<TargetSettings> ServiceBackend::proxy() {
  const std::scoped_lock lock(mutex_);
  return proxy_;
}

bool ServiceBackend::retry() {
  const std::scoped_lock lock(mutex_);
  const auto why = lacking_.find(kProxySlot);
  if (why == lacking_.end()) return false;
  const auto assigned = assign_proxy(*proxy_, store::Append::Yes);
  if (!assigned) why->second = assigned.error().message();
  return !assigned;
}

void ServiceBackend::release_open() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [slot, settings] : attached_) {
    if (kernel::is_closed(policy_of(settings))) continue;
    auto detached = engine_.capture().detach(slot);
    if (!detached) log::warn("target.detach_failed", detached.error().message(), {{"target", slot}});
  }
  engine_.capture().keep_closed();
}

void ServiceBackend::hold(Keep& reason, Keep keep) {
  const std::scoped_lock lock(hold_mutex_);
  reason = keep;
  engine_.capture().hold_predecessor(at_start_ == Keep::Yes || while_unsure_ == Keep::Yes);
}

void ServiceBackend::take_back(uint32_t slot) {
  const auto before = attached_.find(slot);
  if (before == attached_.end()) return;
  Assignment wanted = assignment(before->second);
  wanted.append = store::Append::Yes;
  if (auto assigned = engine_.tapes().assign(slot, wanted); !assigned) {
    engine_.tapes().assign_without_tape(slot, wanted);
    lacking_[slot] = assigned.error().message();
  }
  engine_.refusals().follow(slot, wanted);
}

Result<void> ServiceBackend::assign_proxy(const TargetSettings& settings, store::Append append) {
  Assignment wanted = assignment(settings);
  wanted.append = append;
  wanted.holder = kProxyTarget;
  TRY_VOID(engine_.tapes().assign(kProxySlot, wanted));
  engine_.cursors().rewind(static_cast<int>(kProxySlot));
  engine_.reset_tunnels(kProxySlot);
  lacking_.erase(kProxySlot);
  proxy_ = settings;
  return {};
}

Assignment ServiceBackend::assignment(const TargetSettings& settings) const {
  Assignment out;
  out.name = settings.shown();
  out.mode = mode_of(settings);
  out.session = settings.session.value_or(defaults().session);
  out.strict = settings.strict ? modes::Strict::Yes : modes::Strict::No;
  out.sealed = settings.sealed ? modes::Sealed::Yes : modes::Sealed::No;
  out.bypass = settings.bypass;
  out.holder = settings.spec.to_string();
  return out;
}

kernel::TargetPolicy ServiceBackend::policy_of(const TargetSettings& settings) const {
  kernel::TargetPolicy policy;
  const bool closed = closes_on_lease(settings, config_.capture, mode_of(settings));
  policy.on_lease = closed ? kernel::OnLease::Closed : kernel::OnLease::Open;
  policy.sealed = settings.sealed ? kernel::Sealed::Yes : kernel::Sealed::No;
  policy.names = names_of(mode_of(settings), settings.sealed ? modes::Sealed::Yes : modes::Sealed::No);
  return policy;
}

}  // namespace tapdeck::app

#include "daemon/app/capture_bridge.h"

#include <utility>

#include "daemon/base/log.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::app {

void CaptureBridge::connect(kernel::Capture& capture, std::vector<server::Worker*> workers, upstream::OwnAddresses& own,
                            NameService& names) {
  capture_ = &capture;
  own_ = &own;
  names_ = &names;
  home_cookie_ = kernel::netns_cookie().value_or(0);
  workers_ = std::move(workers);
}

std::vector<kernel::Refusal> CaptureBridge::refusals() {
  const std::scoped_lock lock(mutex_);
  return refusals_;
}

void CaptureBridge::add_listener(kernel::CapturedListener listener) {
  const server::ListenerTag tag{listener.key.path, listener.key.listener_id, listener.key.netns_cookie,
                                listener.key.target};
  const bool is_here = listener.key.netns_cookie == home_cookie_ && home_cookie_ != 0;
  if (is_here) own_->add_captured(listener.key.listener_id, listener.address);
  workers_[listener.worker % workers_.size()]->add_listener(std::move(listener.fd), tag);
}

void CaptureBridge::remove_listener(uint64_t listener_id) {
  for (server::Worker* worker : workers_) worker->remove_listener(listener_id);
  own_->remove_captured(listener_id);
}

void CaptureBridge::set_on_change(std::function<void(uint32_t target)> on_change) {
  const std::scoped_lock lock(mutex_);
  on_change_ = std::move(on_change);
}

void CaptureBridge::on_cgroup_gone(uint32_t target) {
  const std::scoped_lock lock(mutex_);
  if (on_change_) on_change_(target);
}

void CaptureBridge::on_cgroup_back(uint32_t target) {
  on_cgroup_gone(target);
}

void CaptureBridge::on_no_process(uint32_t target) {
  for (server::Worker* worker : workers_) worker->lose_dead(static_cast<TargetSlot>(target));
}

void CaptureBridge::on_refused(const kernel::Refusal& refusal) {
  const std::scoped_lock lock(mutex_);
  if (refusals_.size() < kMaxRefusals) refusals_.push_back(refusal);
}

void CaptureBridge::on_refused_as_recorded(const kernel::Refusal& refusal) {
  log::peer(log::Level::Info, "replay.refused", "a connect was refused, as when it was recorded",
            {{"target", refusal.target},
             {"destination", refusal.destination.to_string()},
             {"pid", refusal.pid},
             {"comm", refusal.comm.data()}});
}

void CaptureBridge::on_left_cgroup(const kernel::Departure& departure) {
  log::peer(log::Level::Warn, "capture.left_cgroup",
            "a process left the cgroup of its target: what it does from now on is not captured (podman: "
            "--cgroups=disabled or --cgroup-parent keeps containers in it; others are attached by themselves)",
            {{"target", departure.target},
             {"pid", departure.pid},
             {"comm", departure.comm.data()},
             {"cgroup", departure.cgroup}});
}

Result<exchange::CapturedFlow> CaptureBridge::resolve(const server::ListenerTag& listener, const Endpoint& client,
                                                      const Endpoint& local) {
  const kernel::ListenerKey key{listener.path, listener.id, listener.netns_cookie, listener.target};
  TRY(captured, capture_->resolve(key, client, local));
  exchange::CapturedFlow flow;
  flow.client = captured.client;
  flow.destination = captured.original_destination;
  flow.path = captured.path;
  if (captured.identity.target >= kTargetSlots) return fail(Code::NotFound, "the flow names no target", Origin::Kernel);
  flow.identity = {static_cast<TargetSlot>(captured.identity.target),
                   0,  // label and tenant: the worker's
                   0,
                   captured.identity.cgroup_id,
                   captured.path == CapturePath::Cgroup ? captured.identity.netns_cookie : 0,
                   captured.identity.pid,
                   captured.identity.uid,
                   std::string(captured.identity.comm_view())};
  return flow;
}

Result<UniqueFd> CaptureBridge::upstream_socket(uint64_t netns_cookie, int family) {
  return capture_->upstream_socket(netns_cookie, family);
}

}  // namespace tapdeck::app

// A Capture for a process that may not capture: what `serve` has without privileges, for clients of proxy.listen alone.
// Nothing can be attached, which says why; nothing was captured; upstream sockets are plain ones of the own network.
// Thread: any.
#pragma once

#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {

class NoCapture : public Capture {
 public:
  // `why`: what attaching answers.
  explicit NoCapture(Error why) : why_(std::move(why)) {}

  Result<void> attach_cgroup(uint32_t target, const std::string& cgroup_path, TargetPolicy policy) override;
  Result<void> attach_interface(uint32_t target, const std::string& interface_name, TargetPolicy policy) override;
  Result<void> attach_namespace(uint32_t target, NamespaceListeners listeners) override;
  Result<void> prepare_netns(uint32_t target, int netns_fd) override;
  Result<void> set_policy(uint32_t target, TargetPolicy policy) override;
  Result<size_t> refuse_as_recorded(uint32_t target, const std::vector<Endpoint>& destinations) override;
  Result<void> detach(uint32_t target) override;
  Result<CapturedFlow> resolve(const ListenerKey& listener, const Endpoint& client, const Endpoint& local) override;
  Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) override;
  Result<CapturedFlow> resolve_question(uint64_t netns_cookie, const Endpoint& client, const Endpoint& door) override;
  Result<UniqueFd> datagram_socket(uint64_t netns_cookie, int family) override;
  void hold_predecessor(bool /*hold*/) override {}
  LeaseWas renew_lease() override { return LeaseWas::Kept; }
  uint64_t lapsed_flows() const override { return 0; }
  void keep_closed() override {}
  Stats stats() const override { return {}; }

 private:
  const Error why_;
};

}  // namespace tapdeck::kernel

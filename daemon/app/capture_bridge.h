// CaptureBridge: kernel::Capture as the server sees it: flows for accepted connections, sockets for upstream legs, and
// listeners handed to workers. Holds no policy.
//
// Owner: the Engine. Thread: resolve() and upstream_socket() on workers, ListenerSink calls on the control thread.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "daemon/app/name_service.h"
#include "daemon/kernel/capture.h"
#include "daemon/server/worker.h"

namespace tapdeck::app {

class CaptureBridge final : public kernel::ListenerSink, public server::FlowSource, public upstream::SocketSource {
 public:
  // What the kernel told about a sealed target's refused flow, bounded.
  static constexpr size_t kMaxRefusals = 1000;

  CaptureBridge() = default;
  CaptureBridge(const CaptureBridge&) = delete;
  CaptureBridge& operator=(const CaptureBridge&) = delete;

  // Before the first attach; the workers, `own` and `names` outlive the capture. `own` learns of listeners in this
  // process's own network namespace.
  void connect(kernel::Capture& capture, std::vector<server::Worker*> workers, upstream::OwnAddresses& own,
               NameService& names);
  // `on_change` is called when a target's cgroup goes or comes back, by the control thread, and must not block; set it
  // before attaching. Once it is replaced, the one before is not called any more.
  void set_on_change(std::function<void(uint32_t target)> on_change);
  [[nodiscard]] std::vector<kernel::Refusal> refusals();

  void add_listener(kernel::CapturedListener listener) override;
  void remove_listener(uint64_t listener_id) override;
  void add_door(kernel::NameDoor door) override { names_->add_door(std::move(door)); }
  void remove_door(uint64_t id) override { names_->remove_door(id); }
  void on_name_seen(const kernel::NameSighting& seen) override { names_->saw(seen); }
  void on_names_lost(uint64_t more) override { names_->lost_some(more); }
  void on_cgroup_gone(uint32_t target) override;
  void on_cgroup_back(uint32_t target) override;
  void on_no_process(uint32_t target) override;
  void on_refused(const kernel::Refusal& refusal) override;
  void on_refused_as_recorded(const kernel::Refusal& refusal) override;
  void on_left_cgroup(const kernel::Departure& departure) override;

  Result<exchange::CapturedFlow> resolve(const server::ListenerTag& listener, const Endpoint& client,
                                         const Endpoint& local) override;
  Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) override;

 private:
  kernel::Capture* capture_ = nullptr;
  upstream::OwnAddresses* own_ = nullptr;
  NameService* names_ = nullptr;
  uint64_t home_cookie_ = 0;  // of that namespace; 0: not known
  std::vector<server::Worker*> workers_;
  std::mutex mutex_;  // the two below
  std::function<void(uint32_t)> on_change_;
  std::vector<kernel::Refusal> refusals_;
};

}  // namespace tapdeck::app

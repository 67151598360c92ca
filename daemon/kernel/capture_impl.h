// CaptureImpl: the Capture behind capture.h. Everything but resolve(), upstream_socket(), renew_lease() and
// lapsed_flows() happens on the control thread, so that there is one lock in the whole layer (NetnsTable's). Defined in
// capture.cc (life, what workers call, numbers), capture_targets.cc (attach, detach), capture_processes.cc (namespaces
// of processes), capture_escapes.cc (who leaves), capture_interfaces.cc (what may happen to captured interfaces) and
// capture_events.cc (what else happens by itself).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "daemon/kernel/bpf_events.h"
#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/cgroup_target.h"
#include "daemon/kernel/cgroup_watch.h"
#include "daemon/kernel/control_thread.h"
#include "daemon/kernel/escapes.h"
#include "daemon/kernel/kernel_clock.h"
#include "daemon/kernel/netns_table.h"
#include "daemon/kernel/other_programs.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/kernel/tc_target.h"

namespace tapdeck::kernel {

// Tokens of the control thread: slots of targets (their cgroup.events), and these.
inline constexpr uint64_t kEventsToken = 1ULL << 32;
inline constexpr uint64_t kInotifyToken = 2ULL << 32;
inline constexpr uint64_t kWatchToken = 3ULL << 32;
inline constexpr int kTurnsOfARing = 8;  // of BpfEvents: 1,024 sightings each, of 312 bytes and more in 2 MiB
inline constexpr auto kTick = std::chrono::milliseconds(200);

[[nodiscard]] constexpr Pinned pinned_of(TargetPolicy policy) {
  return is_closed(policy) ? Pinned::Yes : Pinned::No;
}

class CaptureImpl final : public Capture, private ControlThread::Handler {
 public:
  CaptureImpl(CaptureOptions options, ListenerSink& sink) : options_(std::move(options)), sink_(sink) {}
  ~CaptureImpl() override;
  [[nodiscard]] Result<void> start();

  Result<void> attach_cgroup(uint32_t target, const std::string& cgroup_path, TargetPolicy policy) override;
  Result<void> attach_interface(uint32_t target, const std::string& interface_name, TargetPolicy policy) override;
  Result<void> attach_namespace(uint32_t /*target*/, NamespaceListeners /*listeners*/) override {
    return fail(Code::Unsupported, "this capture works by programs, not by a namespace", Origin::Kernel);
  }
  Result<void> set_policy(uint32_t target, TargetPolicy policy) override;
  Result<size_t> refuse_as_recorded(uint32_t target, const std::vector<Endpoint>& destinations) override;
  Result<void> detach(uint32_t target) override;
  Result<void> prepare_netns(uint32_t target, int netns_fd) override;
  Result<CapturedFlow> resolve(const ListenerKey& listener, const Endpoint& client, const Endpoint& local) override;
  Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) override;
  Result<CapturedFlow> resolve_question(uint64_t netns_cookie, const Endpoint& client, const Endpoint& door) override;
  Result<UniqueFd> datagram_socket(uint64_t netns_cookie, int family) override;
  void hold_predecessor(bool hold) override { holds_predecessor_.store(hold); }
  LeaseWas renew_lease() override;
  [[nodiscard]] uint64_t lapsed_flows() const override;
  void keep_closed() override { keep_closed_.store(true); }
  [[nodiscard]] Stats stats() const override;

 private:
  struct Slot {
    TargetPolicy policy;
    std::unique_ptr<CgroupTarget> cgroup;
    std::unique_ptr<TcTarget> interface;
    uint64_t pre_existing = 0;
    std::vector<tapdeck_refused_key> refused;  // in the map of the programs
    std::string others;                        // TargetStats::others
    std::string trouble;                       // TargetStats::trouble; said once
    uint64_t gaps = 0;                         // TargetStats
    std::chrono::milliseconds gap_total{0};
    std::chrono::steady_clock::time_point gap_since{};  // not captured since; zero: it is
    bool used = false;                                  // attached at some time: stats list it
    int return_watch = -1;                              // of inotify_, where its cgroup may come back; -1: none
    bool has_doors = false;                             // sockets of it may be connected to doors of ours
    [[nodiscard]] bool is_free() const { return !cgroup && !interface; }
    [[nodiscard]] Filtered filtered(TargetPolicy wanted) const {
      const bool is_looked_at = wanted.sealed == Sealed::Yes || wanted.names != Names::Left;
      return is_looked_at || has_doors ? Filtered::Yes : Filtered::No;
    }
  };

  // ControlThread::Handler
  void on_ready(uint64_t token) override;
  void on_tick() override;

  [[nodiscard]] Result<void> on_control(const std::function<Result<void>()>& task) const;
  [[nodiscard]] Result<void> attach_cgroup_now(uint32_t target, const std::string& path, TargetPolicy policy);
  // Connect programs of ours and of our predecessor.
  [[nodiscard]] ProgramIds own_programs() const;
  [[nodiscard]] ProgramIds own_filters() const;
  void say_others(uint32_t target);
  [[nodiscard]] Result<void> attach_interface_now(uint32_t target, const std::string& name, TargetPolicy policy);
  [[nodiscard]] Result<void> detach_now(uint32_t target);
  [[nodiscard]] Result<size_t> refuse_now(uint32_t target, const std::vector<Endpoint>& destinations);
  void drop_refused(uint32_t target);
  [[nodiscard]] Result<void> change_policy(uint32_t target, TargetPolicy policy);
  [[nodiscard]] Result<void> write_policy(uint32_t target, TargetPolicy policy) const;
  [[nodiscard]] Result<void> need_steering();
  void drop_steering_if_unused();
  // Routing rules are those of all captured interfaces.
  void look_at_steering();
  void set_steering_trouble(std::string trouble);
  void note_host_addresses();
  void begin_gap(uint32_t target, const std::string& trouble);
  void end_gap(uint32_t target);
  // Listeners for the namespaces of all processes of the target.
  [[nodiscard]] Result<void> cover_processes(uint32_t target);
  [[nodiscard]] Result<void> cover_process(uint32_t target, int pid, uint64_t netns_cookie = 0);
  // Those of one directory, not of those below; false: there are none.
  bool cover_directory(uint32_t target, const std::string& directory);
  void cover_home_if_empty(uint32_t target);
  void look_where_processes_are(std::chrono::steady_clock::time_point now);
  [[nodiscard]] uint64_t count_pre_existing(uint32_t target) const;
  // Who leaves the target's cgroup is seen, where that is possible.
  void watch_escapes(uint32_t target);
  void unwatch_escapes(uint32_t target);
  void on_departure(const tapdeck_event& event);
  void watch_events(uint32_t target);
  void unwatch_events(uint32_t target);
  void on_cgroup_event(uint32_t target);
  void on_bpf_event(const tapdeck_event& event);
  void consume_events();
  void tell_lost_sightings();
  void on_sighting(const tapdeck_sighting& sighting);
  void lose_cgroup(uint32_t target);
  void look_for_cgroup(uint32_t target);
  void look_at_interface(uint32_t target);
  void on_watch();
  void watch_for_return(uint32_t target);
  void unwatch_return(uint32_t target);
  void shut_down();

  const CaptureOptions options_;
  ListenerSink& sink_;
  std::optional<RunDirectory> run_;
  UniqueFd home_fd_;
  uint64_t home_cookie_ = 0;
  std::unique_ptr<BpfMaps> maps_;
  std::unique_ptr<NetnsTable> netns_;
  std::unique_ptr<Escapes> escapes_;  // made with the first cgroup target; none: not possible here
  bool tried_escapes_ = false;
  std::unique_ptr<BpfEvents> events_;
  UniqueFd inotify_;                    // parents of cgroups that are gone
  std::unique_ptr<CgroupWatch> watch_;  // cgroups below targets; none: out of inotify instances
  std::chrono::steady_clock::time_point next_look_{};
  std::array<Slot, kMaxTargets> slots_;
  bool steering_ = false;
  std::string steering_trouble_;       // why marked packets go elsewhere; empty: they do not
  uint64_t sightings_lost_ = 0;        // told to the sink
  std::set<Endpoint> host_addresses_;  // as the programs know them
  std::chrono::steady_clock::time_point last_tick_{};
  uint64_t ticks_ = 0;
  uint64_t take_over_ticks_ = 0;
  std::atomic<bool> holds_predecessor_{false};
  std::atomic<bool> keep_closed_{false};
  std::atomic<uint64_t> lease_expirations_{0};
  std::atomic<uint64_t> unknown_flows_{0};
  mutable std::unique_ptr<ControlThread> control_;  // last: stops first
};

}  // namespace tapdeck::kernel

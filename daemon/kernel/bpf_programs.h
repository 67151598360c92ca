// bpf_programs: the BPF maps all targets share, and one copy of the programs for each target. Loads, attaches, pins;
// decides nothing (capture.cc does). No libbpf type leaves this header.
// Thread: control thread, except BpfMaps' const methods and control(), which any thread may use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bpf/shared.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

struct tapdeck_cgroup;
struct tapdeck_tc;

namespace tapdeck::kernel {

struct CapturedCounters {
  uint64_t count[TAPDECK_COUNTS] = {};
};

class BpfMaps {
 public:
  // Errors: Permission (CAP_BPF, CAP_NET_ADMIN), Unsupported.
  [[nodiscard]] static Result<std::unique_ptr<BpfMaps>> create(uint32_t flow_entries);
  ~BpfMaps();
  BpfMaps(const BpfMaps&) = delete;
  BpfMaps& operator=(const BpfMaps&) = delete;

  // Memory shared with the programs; valid as long as this object. Access with std::atomic_ref.
  [[nodiscard]] tapdeck_control& control() const { return *control_; }
  [[nodiscard]] int events_fd() const;
  [[nodiscard]] int sightings_fd() const;

  [[nodiscard]] Result<void> set_target(uint32_t slot, const tapdeck_target& target) const;
  [[nodiscard]] CapturedCounters counters(uint32_t slot) const;  // summed over CPUs
  [[nodiscard]] Result<void> set_netns(uint64_t cookie, const tapdeck_netns& listeners) const;
  void remove_netns(uint64_t cookie) const;
  // Its addresses are others now. NotFound.
  [[nodiscard]] Result<void> set_sources(uint64_t cookie, __u32 source4_be, const __u8 source6[16]) const;
  [[nodiscard]] Result<void> add_own_listener(const tapdeck_own_key& key) const;
  void remove_own_listener(const tapdeck_own_key& key) const;
  // A destination that connect() is to be refused for. Exhausted: TAPDECK_MAX_REFUSED are there.
  [[nodiscard]] Result<void> add_refused(const tapdeck_refused_key& key) const;
  void remove_refused(const tapdeck_refused_key& key) const;
  // Takes the entry out. False: there is none.
  [[nodiscard]] bool take_flow(const tapdeck_flow_key& key, tapdeck_flow& out) const;
  // Of a datagram that has arrived at a door; it stays. False: there is none.
  [[nodiscard]] bool find_question(const tapdeck_flow_key& key, tapdeck_flow& out) const;
  // Datagrams of this slot's clients that arrive from now on are nobody's (kNoTarget): the slot may be another's next.
  void disown_questions(uint32_t slot) const;
  // Removes entries older than this many nanoseconds that nobody accepted; returns how many.
  uint64_t sweep_flows(uint64_t now_ns, uint64_t max_age_ns) const;

  // The maps only the tc path needs exist after this.
  [[nodiscard]] Result<void> need_tc();
  [[nodiscard]] Result<void> set_tc_listener(uint32_t slot, Endpoint::Family family, unsigned worker,
                                             int listener_fd) const;
  [[nodiscard]] Result<void> set_tc_door(uint32_t slot, Endpoint::Family family, int door_fd) const;
  // An address of this host. Errors: Exhausted, Kernel's.
  [[nodiscard]] Result<void> add_host_address(const tapdeck_address& address) const;
  void remove_host_address(const tapdeck_address& address) const;

 private:
  friend class CgroupPrograms;
  friend class Escapes;
  friend class TcProgram;
  BpfMaps() = default;
  [[nodiscard]] int map_fd(const char* name) const;

  tapdeck_cgroup* cgroup_ = nullptr;  // owned; its programs are not loaded
  tapdeck_tc* tc_ = nullptr;          // owned; likewise
  tapdeck_control* control_ = nullptr;
};

// Programs can choose the errno of a connect() that they refuse (Linux 5.18); else it is EPERM.
[[nodiscard]] bool has_set_retval();

// The cgroup a pinned link is attached to; 0 when it is gone or no such link.
[[nodiscard]] uint64_t pinned_cgroup_id(const std::string& path);

// The program of a pinned link; 0: no such link.
[[nodiscard]] uint32_t pinned_program(const std::string& path);

// Detaches a pinned link at once and removes its pin. What is no link any more is only removed.
void release_pin(const std::string& path);

// One target's copy of the cgroup programs.
class CgroupPrograms {
 public:
  [[nodiscard]] static Result<std::unique_ptr<CgroupPrograms>> load(const BpfMaps& maps, uint32_t slot, uint32_t mark);
  ~CgroupPrograms();  // detaches what is not pinned
  CgroupPrograms(const CgroupPrograms&) = delete;
  CgroupPrograms& operator=(const CgroupPrograms&) = delete;

  // sock_ops first and connect last, so that no rewritten socket goes unnoticed.
  [[nodiscard]] Result<void> attach(int cgroup_fd);
  // The programs that see every packet, apart: only targets that are sealed, or whose names are looked at, shall pay
  // for them. Attached already: success.
  [[nodiscard]] Result<void> attach_filters(int cgroup_fd);
  void detach_filters();
  // As the kernel numbers it; 0: not loaded.
  [[nodiscard]] uint32_t connect_program() const;
  // Removes links and pins; the programs stay loaded, so that attaching again takes no verifier run.
  void detach();
  // Pins every link below `prefix` ("/…/bpf/0-"): they outlive the process until unlinked.
  [[nodiscard]] Result<void> pin(const std::string& prefix);
  void unpin();

 private:
  struct Links;
  CgroupPrograms();
  void drop_links();
  tapdeck_cgroup* skeleton_ = nullptr;
  std::unique_ptr<Links> links_;
};

// One target's copy of the tc program; tc_filter attaches it.
class TcProgram {
 public:
  [[nodiscard]] static Result<std::unique_ptr<TcProgram>> load(const BpfMaps& maps, uint32_t slot, uint32_t mark,
                                                               uint32_t l2_length, unsigned workers);
  ~TcProgram();
  TcProgram(const TcProgram&) = delete;
  TcProgram& operator=(const TcProgram&) = delete;
  [[nodiscard]] int fd() const;

 private:
  TcProgram() = default;
  tapdeck_tc* skeleton_ = nullptr;
};

}  // namespace tapdeck::kernel

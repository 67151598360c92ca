// NetnsTable: the network namespaces in which we listen, their listeners, and the descriptors that let workers make
// upstream sockets there. Knows which targets use a namespace, not why. Owned by Capture.
// Thread: control thread; only upstream_socket() and counts() may be called from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <shared_mutex>
#include <vector>

#include "bpf/shared.h"
#include "daemon/base/unique_fd.h"
#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::kernel {

// Address as the 16 bytes (v4-mapped) that programs use, and back.
void to_mapped(const Endpoint& endpoint, __u8 out[16]);
[[nodiscard]] Endpoint from_mapped(const __u8 address[16], uint16_t port);

class NetnsTable {
 public:
  // `home_fd` is the daemon's namespace; all references outlive the table.
  NetnsTable(const CaptureOptions& options, const BpfMaps& maps, ListenerSink& sink, int home_fd, uint64_t home_cookie)
      : options_(options), maps_(maps), sink_(sink), home_fd_(home_fd), home_cookie_(home_cookie) {}
  ~NetnsTable();
  NetnsTable(const NetnsTable&) = delete;
  NetnsTable& operator=(const NetnsTable&) = delete;

  // Target `target` has processes in this namespace: creates listeners and publishes them, unless that is done already.
  // `cookie`, when not 0, is the one it has to have. Errors: Exhausted (descriptors), Permission, Unreachable (loopback
  // is down there), NotFound (another cookie).
  [[nodiscard]] Result<void> use(uint32_t target, UniqueFd netns_fd, uint64_t cookie = 0);
  // The same before there are any processes: stays until leave().
  [[nodiscard]] Result<void> prepare(uint32_t target, UniqueFd netns_fd);
  // use() for a namespace that needs nothing any more, by inode number; false: use() has to see to it.
  [[nodiscard]] bool note(uint32_t target, uint64_t inode);
  // Where all processes of all targets are: bits of targets by inode number. A namespace without any goes with the
  // second such list in a row, for a process may come while the first is made. Left alone: what was prepared, and our
  // own, which we keep alive anyway.
  using Users = std::map<uint64_t, uint64_t>;
  void seen(const Users& users, std::chrono::steady_clock::time_point now);
  [[nodiscard]] bool has(uint64_t cookie) const;
  // With listeners of both families: found early, a namespace may get its ::1 yet.
  [[nodiscard]] bool is_complete(uint64_t cookie) const;
  // Its addresses may have come or changed since use(). NotFound.
  [[nodiscard]] Result<void> look_for_sources(uint64_t cookie);
  // The target uses none any more. Detached: a namespace without users loses its listeners at once and its descriptor
  // a few seconds later, since flows in flight may still have to dial. Emptied: the next process of the target is
  // likely to come from the same place, so the listeners stay a few seconds more. Gone (its cgroup was removed): at
  // once again. Emptied and Gone leave those of our own namespace (which we keep alive anyway) until the target is
  // detached: a command after a command, a restarted unit finds them there. What other targets use, or are waited for
  // in, stays as it is.
  enum class Why { Detached, Emptied, Gone };
  void leave(uint32_t target, Why why, std::chrono::steady_clock::time_point now);
  // Closes descriptors whose time has come; once a second, looks whether namespaces have fewer ephemeral ports than
  // their listeners were made for, and makes those more that it takes.
  void tick(std::chrono::steady_clock::time_point now);

  [[nodiscard]] Result<UniqueFd> upstream_socket(uint64_t cookie, int family,
                                                 Transport transport = Transport::Tcp) const;
  struct Counts {
    uint64_t namespaces = 0;
    uint64_t listeners = 0;
  };
  [[nodiscard]] Counts counts() const;
  [[nodiscard]] uint64_t next_listener_id() { return next_id_++; }

 private:
  struct Namespace {
    UniqueFd fd;
    uint64_t inode = 0;
    uint64_t users = 0;                                 // bit per target
    uint64_t prepared = 0;                              // those of them that stay without a process
    uint64_t awaited = 0;                               // whose next process is waited for, until retire_at
    unsigned unseen = 0;                                // lists in a row without a process in it
    std::chrono::steady_clock::time_point retire_at{};  // without users: when the listeners go
    std::chrono::steady_clock::time_point close_at{};   // without listeners: when the descriptor goes
    std::vector<uint64_t> listener_ids;
    std::vector<uint64_t> door_ids;
    std::vector<tapdeck_own_key> own_keys;
    tapdeck_netns value{};  // as published
    [[nodiscard]] bool is_complete() const { return value.count6 != 0; }
  };
  struct Made;  // sockets made inside, not published yet

  using Namespaces = std::map<uint64_t, Namespace>;  // by cookie
  // One with listeners, or end().
  [[nodiscard]] Namespaces::iterator find(uint64_t inode);
  [[nodiscard]] Result<void> make_inside(Made& made, uint64_t cookie) const;
  [[nodiscard]] Result<void> make_v6(Made& made, unsigned count) const;
  void complete(uint64_t cookie, Namespace& ns);
  void grow(uint64_t cookie, Namespace& ns);
  // Where questions for names go.
  [[nodiscard]] Result<void> make_doors(Made& made, Endpoint::Family family) const;
  // Numbers `first` up to `count`.
  [[nodiscard]] Result<void> make_family(Made& made, Endpoint::Family family, unsigned first, unsigned count) const;
  [[nodiscard]] Result<std::vector<tapdeck_own_key>> note_own(uint64_t cookie, const Made& made) const;
  // All of it or nothing.
  [[nodiscard]] Result<void> publish(Namespace& ns, uint64_t cookie, Made& made);
  void hand_out(Made& made);
  void retire(uint64_t cookie, Namespace& ns);

  const CaptureOptions& options_;
  const BpfMaps& maps_;
  ListenerSink& sink_;
  const int home_fd_;
  const uint64_t home_cookie_;
  uint64_t next_id_ = 1;
  std::chrono::steady_clock::time_point look_at_{};  // at the port ranges
  // Guards the shape of namespaces_, each fd and each list of listeners; written by the control thread only.
  mutable std::shared_mutex mutex_;
  Namespaces namespaces_;
};

}  // namespace tapdeck::kernel

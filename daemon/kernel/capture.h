// Capture: makes the kernel hand the TCP flows of chosen cgroups and interfaces to our listeners, and tells for each
// accepted connection where it was going and who opened it.
//
// It is not the accept loop (server/ owns that) and not the registry of targets by name (app/ owns that): a target is
// a slot number here. It owns one thread, the control thread, which creates listeners inside other network namespaces,
// attaches and detaches programs and watches cgroups come and go. BPF lives in bpf/; what it shares with us is
// bpf/shared.h. Paths, lease and clean-up follow docs/ARCHITECTURE.md, "Capture".
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::kernel {

inline constexpr uint32_t kMaxTargets = 64;
inline constexpr unsigned kMaxWorkers = 32;
inline constexpr uint32_t kNoTarget = 0xffffffff;

// Who opened a flow, as far as the path knows. Unknown numbers are 0, an unknown comm is empty.
struct Identity {
  uint32_t target = kNoTarget;  // slot 0..kMaxTargets-1
  uint32_t pid = 0;             // thread group id, in the initial pid namespace
  uint32_t uid = 0;             // in the initial user namespace
  uint64_t cgroup_id = 0;
  uint64_t netns_cookie = 0;    // SO_NETNS_COOKIE of the client's network namespace; on the tc path: the daemon's
  std::array<char, 16> comm{};  // zero terminated

  [[nodiscard]] std::string_view comm_view() const { return {comm.data()}; }
};

// What every layer above sees of the kernel.
struct CapturedFlow {
  Endpoint client;
  Endpoint original_destination;  // scope_id set for link-local destinations
  Identity identity;
  CapturePath path = CapturePath::Explicit;
};

// Before a renewal; RunOut: the daemon stood still for longer than the lease.
enum class LeaseWas { Kept, RunOut };

// What happens to new flows while the daemon does not renew its lease: untouched, or refused.
enum class OnLease : uint8_t { Open, Closed };
// Yes: whatever is not captured is refused (loopback excepted), DNS over UDP included. Implies OnLease::Closed.
enum class Sealed : uint8_t { No, Yes };

// What becomes of DNS over UDP (port 53), while the lease lasts. What is not answered or observed is counted as
// Uncaptured::Dns, and refused where the target is sealed; so is what cannot go to a door: datagrams to link-local
// resolvers (a connect of a sealed target can), and those of sockets bound to a device.
enum class Names : uint8_t {
  Left,
  Observed,  // it passes, and the sink is told of questions and answers; not of sealed targets, nor on the tc path
  Answered,  // questions go to a NameDoor
};

struct TargetPolicy {
  OnLease on_lease = OnLease::Open;
  Sealed sealed = Sealed::No;
  Names names = Names::Left;
};

// What cannot be captured is refused, not passed.
[[nodiscard]] constexpr bool is_closed(TargetPolicy policy) {
  return policy.on_lease == OnLease::Closed || policy.sealed == Sealed::Yes;
}

// Where a listener sits; a worker keeps it beside the socket and passes it to resolve().
struct ListenerKey {
  CapturePath path = CapturePath::Cgroup;
  uint64_t listener_id = 0;     // unique for the life of the Capture
  uint64_t netns_cookie = 0;    // namespace in which the socket lives
  uint32_t target = kNoTarget;  // tc path: each target has its own listeners; cgroup path: kNoTarget
};

struct CapturedListener {
  UniqueFd fd;  // listening, non-blocking, close-on-exec, plain IPPROTO_TCP; the receiver owns it
  Endpoint address;
  unsigned worker = 0;  // 0..CaptureOptions::workers-1
  ListenerKey key;
};

// A UDP socket in a network namespace where questions for names arrive. Whom each is for: resolve_question(). Answers
// are sent from it.
struct NameDoor {
  UniqueFd fd;  // bound to `address`, non-blocking, close-on-exec; the receiver owns it
  Endpoint address;
  uint64_t id = 0;  // of those that remove_door() names
  uint64_t netns_cookie = 0;
  // tc path: whose questions they all are; they keep the address of the resolver as where they were sent to, and
  // answers may be sent from there. cgroup path: kNoTarget.
  uint32_t target = kNoTarget;
};

// A datagram that passed between a client and port 53 of a resolver.
struct NameSighting {
  enum class Way : uint8_t { Question, Answer };
  uint32_t target = kNoTarget;
  uint64_t netns_cookie = 0;  // 0: not known; the same in both ways
  Endpoint client, resolver;
  Way way = Way::Question;
  std::string_view bytes;  // at most the first 4095
  size_t length = 0;       // of all of it
};

// A connection or datagram that the kernel refused: of a sealed target, or as it was recorded.
struct Refusal {
  uint32_t target = kNoTarget;
  uint32_t pid = 0;
  std::array<char, 16> comm{};
  uint8_t protocol = 0;  // IPPROTO_*
  Endpoint destination;
};

// A process that was in the cgroup of a target and has been moved, or was forked, to where no program of the target is.
struct Departure {
  uint32_t target = kNoTarget;
  uint32_t pid = 0;
  std::array<char, 16> comm{};
  std::string cgroup;  // where it went; empty: that is gone already
};

// Called on the control thread, never with a lock held; must not block. It may call back into Capture.
class ListenerSink {
 public:
  virtual ~ListenerSink() = default;
  // Connections may already wait in the backlog. Implementer hands it to worker `listener.worker`.
  virtual void add_listener(CapturedListener listener) = 0;
  // The namespace or target is gone: stop accepting, close the socket. Unknown ids are ignored.
  virtual void remove_listener(uint64_t listener_id) = 0;
  // The same of the doors of a namespace, some a family.
  virtual void add_door(NameDoor /*door*/) {}
  virtual void remove_door(uint64_t /*id*/) {}
  // Rate limited by a ring buffer: of what does not fit it is only told how many there were.
  virtual void on_name_seen(const NameSighting& /*seen*/) {}
  virtual void on_names_lost(uint64_t /*more*/) {}
  // The cgroup directory of the target was removed (container stopped). Capture keeps watching the path and attaches
  // again by itself, with the same policy, when it comes back; detach() ends that.
  virtual void on_cgroup_gone(uint32_t /*target*/) {}
  virtual void on_cgroup_back(uint32_t /*target*/) {}
  // No process is left in the cgroup of the target, which may be gone, too.
  virtual void on_no_process(uint32_t /*target*/) {}
  // Rate limited by the ring buffer: what does not fit is only counted (Stats).
  virtual void on_refused(const Refusal& /*refusal*/) {}
  // The same of a destination that refuse_as_recorded() named.
  virtual void on_refused_as_recorded(const Refusal& /*refusal*/) {}
  // Counted as Uncaptured::LeftCgroup too. Only where the kernel lets us see it (`tapdeck doctor`).
  virtual void on_left_cgroup(const Departure& /*departure*/) {}
};

struct CaptureOptions {
  std::string run_dir = "/run/tapdeck";  // holds records of what must be cleaned after a crash; made if missing, 0700
  uint32_t mark = 0x7a9d0000;    // SO_MARK of our own sockets; mark + 1 steers, + 2 refuses packets of the tc path
  uint32_t route_table = 31401;  // of the tc path
  uint32_t flow_map_entries = 262144;  // flows connecting but not yet accepted, all targets together
  std::chrono::milliseconds lease{1500};
  unsigned workers = 1;         // 1..kMaxWorkers
  unsigned listeners_max = 64;  // per namespace and family, 1..64; each is one descriptor
};

// Reasons why a flow of a target was not captured. Order is the wire order of bpf/shared.h.
enum class Uncaptured : uint8_t {
  Udp,          // datagrams, neither DNS nor QUIC
  Dns,          // UDP port 53
  Quic,         // UDP port 443, refused at once
  Raw,          // raw sockets
  Other,        // SCTP, ICMP, ...
  BoundDevice,  // SO_BINDTODEVICE: a rewrite to loopback would hang
  Lease,        // the daemon had not renewed its lease
  MapFull,      // flow_map_entries reached
  NoListener,   // namespace without listeners (yet)
  PreExisting,  // connected before attach
  Fragment,     // tc path: IP fragments
  LeftCgroup,   // a process, not a flow: what it does from now on is not seen
  ToHost,       // tc path: to a service of this host itself
};
inline constexpr size_t kUncapturedReasons = 13;
[[nodiscard]] std::string_view to_string(Uncaptured reason);  // "udp", "bound_device", "pre_existing", ...

struct TargetStats {
  uint32_t target = 0;
  bool attached = false;  // programs sit on a live cgroup or interface, and nothing of `trouble` is in the way
  CapturePath path = CapturePath::Cgroup;  // how
  std::string others;                      // programs of others around, at the attach: a sentence; empty: none
  // Why the interface is there and nothing of it is captured now, and the way out; empty: it is captured, or not there.
  std::string trouble;
  uint64_t gaps = 0;                       // times an attached interface was not captured; never less
  std::chrono::milliseconds gap_total{0};  // how long, together
  uint64_t captured = 0;
  std::array<uint64_t, kUncapturedReasons> uncaptured{};  // by Uncaptured; includes those refused instead of passed
  uint64_t refused_sealed = 0;                            // those of the next three too; the rest is TCP
  uint64_t refused_sealed_udp = 0;
  uint64_t refused_sealed_dns = 0;
  uint64_t refused_sealed_other = 0;
  uint64_t refused_lease = 0;        // closed target, lease past
  uint64_t refused_no_listener = 0;  // closed target
  uint64_t refused_map_full = 0;     // closed target
  uint64_t refused_loop = 0;         // destination was one of our own listeners
  uint64_t refused_as_recorded = 0;  // refuse_as_recorded() named the destination
};

struct Stats {
  std::vector<TargetStats> targets;  // those attached now or with a detach since start, by slot
  uint64_t flow_map_entries = 0;     // in use
  uint64_t flow_map_capacity = 0;
  uint64_t lease_expirations = 0;  // renewals that came too late
  uint64_t unknown_flows = 0;      // resolve() found no entry
  uint64_t listeners = 0;
  uint64_t namespaces = 0;
  uint64_t events_lost = 0;  // ring buffer full
};

// Listeners in a network namespace of which every address is local: whatever connects there arrives at them, and their
// local address is where it was going. Made with the namespace, which is another's business (app/run_namespace.h).
struct NamespaceListeners {
  std::vector<UniqueFd> fds;  // transparent, listening, non-blocking; those of one address share it by SO_REUSEPORT
  Endpoint v4, v6;            // where they listen: nobody else's destination
  uint64_t netns_cookie = 0;
  uint32_t uid = 0;  // whose command it is
  // What was refused there, by reason; only Udp, Quic and Other are ever more than 0. Asked by whoever asks for
  // stats().
  std::function<std::array<uint64_t, kUncapturedReasons>()> uncaptured;
};

class Capture {
 public:
  // Loads maps; nothing is attached. What a crashed predecessor left attached in run_dir keeps refusing until the same
  // cgroup or interface is attached again, 5 s at most (hold_predecessor), so that closed targets have no open moment.
  // Errors: Permission (detail names the capability), Unsupported (kernel feature), Io (run_dir). Several instances may
  // share a run_dir. `sink` outlives the Capture. The lease starts expired: call renew_lease() before attaching.
  [[nodiscard]] static Result<std::unique_ptr<Capture>> create(CaptureOptions options, ListenerSink& sink);

  // Detaches everything, except that fail-closed targets stay attached, refusing, after keep_closed().
  virtual ~Capture() = default;
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  // The methods below may be called from any thread; attach, detach, prepare and stats wait for the control thread.

  // Captures every socket created in this cgroup2 directory and below. Listeners exist in the namespaces of all its
  // processes before the first program is attached, of an empty cgroup: in the daemon's. Attaching an attached slot
  // replaces it. Errors: NotFound (path), InvalidArgument (slot, not a cgroup2 directory), Exhausted (descriptors),
  // Permission, Busy (another tapdeck captures this very cgroup: it alone would see the connections).
  [[nodiscard]] virtual Result<void> attach_cgroup(uint32_t target, const std::string& cgroup_path,
                                                   TargetPolicy policy) = 0;
  // Captures TCP that arrives on this interface of the daemon's namespace (bridge, veth, tun).
  [[nodiscard]] virtual Result<void> attach_interface(uint32_t target, const std::string& interface_name,
                                                      TargetPolicy policy) = 0;
  // Captures what arrives at these. Unsupported: this Capture works by programs (namespace_capture() does not).
  [[nodiscard]] virtual Result<void> attach_namespace(uint32_t target, NamespaceListeners listeners) = 0;
  [[nodiscard]] virtual Result<void> set_policy(uint32_t target, TargetPolicy policy) = 0;
  // From now on connect() to these destinations, and no others, ends with ECONNREFUSED, as long as the lease lasts and
  // until the slot is detached or attached to something else. For cgroups only, and where the kernel can choose the
  // errno (Linux 5.18); elsewhere, and of what does not fit, connections arrive as ever. Returns how many are refused.
  // NotFound: the slot is free.
  [[nodiscard]] virtual Result<size_t> refuse_as_recorded(uint32_t target,
                                                          const std::vector<Endpoint>& destinations) = 0;
  // Removes programs, pins and filters of the slot, and listeners nobody else needs. NotFound if the slot is free.
  [[nodiscard]] virtual Result<void> detach(uint32_t target) = 0;
  // Creates listeners in a namespace before a process of the target exists in it (`run`: our own namespace).
  // netns_fd < 0 means the daemon's own. They stay until the target is detached or its cgroup was in use and emptied.
  [[nodiscard]] virtual Result<void> prepare_netns(uint32_t target, int netns_fd) = 0;

  // Called by a worker right after accept: `client` = peer address, `local` = local address of the accepted socket.
  // About 1 us; consumes the kernel's entry, so that it answers once per connection. NotFound: nobody captured this
  // connection (someone found our listener); the caller resets it and never forwards.
  [[nodiscard]] virtual Result<CapturedFlow> resolve(const ListenerKey& listener, const Endpoint& client,
                                                     const Endpoint& local) = 0;

  // Non-blocking, close-on-exec TCP socket for the upstream leg, marked, created in the namespace with this cookie
  // (Identity::netns_cookie; 0 means the daemon's own). family: AF_INET or AF_INET6. Moves the calling thread into
  // the namespace and back, about 4 us. NotFound: the namespace is gone.
  [[nodiscard]] virtual Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) = 0;

  // Who sent the datagram that a door got from `client`, and which resolver it was meant for. Of a client whose target
  // was detached since its socket was connected: kNoTarget. NotFound: nobody of ours.
  [[nodiscard]] virtual Result<CapturedFlow> resolve_question(uint64_t netns_cookie, const Endpoint& client,
                                                              const Endpoint& door) = 0;
  // As upstream_socket(), for datagrams.
  [[nodiscard]] virtual Result<UniqueFd> datagram_socket(uint64_t netns_cookie, int family) = 0;

  // The five seconds of create() begin with hold_predecessor(false): finding targets again may take longer than that.
  virtual void hold_predecessor(bool hold) = 0;

  // Extends the deadline to now + options.lease. Call it only after every worker has shown life. No syscall.
  virtual LeaseWas renew_lease() = 0;
  // Connections that came while the lease was past, of all slots; less than before once a slot was detached. Waits for
  // nobody, so that who renews may ask.
  [[nodiscard]] virtual uint64_t lapsed_flows() const = 0;
  // After this the destructor leaves fail-closed and sealed targets attached: they refuse once the lease is past.
  virtual void keep_closed() = 0;

  [[nodiscard]] virtual Stats stats() const = 0;

 protected:
  Capture() = default;
};

// Removes programs, filters, routes, rules and mounts recorded in run_dir by a Capture that is gone. Only what is
// recorded there and still ours (program ids are compared). Nothing to do is success. Busy while a Capture uses it.
[[nodiscard]] Result<void> clean_leftovers(const std::string& run_dir);

}  // namespace tapdeck::kernel

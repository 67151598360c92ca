// netns: network namespaces as file descriptors: entering one with the calling thread, its cookie, sockets made inside.
// Creates no namespace and owns none. Thread: any; entering moves only the calling thread, and always moves it back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

// Inclusive, host order.
struct PortRange {
  uint16_t low = 32768;
  uint16_t high = 60999;
};

// The namespace of the calling thread, of a process. NotFound when the process is gone.
[[nodiscard]] Result<UniqueFd> open_own_netns();
[[nodiscard]] Result<UniqueFd> open_netns_of(int pid);
// Inode number of a process's namespace, without opening it; 0 when the process is gone.
[[nodiscard]] uint64_t netns_inode_of(int pid);

// Runs a function in another namespace. However the function ends, the calling thread is back in `home_fd` then. If
// that fails the process aborts: a worker that went on in a container's namespace would send other tenants' traffic
// there.
class NetnsScope {
 public:
  // What `body` says; Permission and others when the namespace cannot be entered.
  [[nodiscard]] static Result<void> run(int netns_fd, int home_fd, const std::function<Result<void>()>& body);
  NetnsScope(const NetnsScope&) = delete;
  NetnsScope& operator=(const NetnsScope&) = delete;

 private:
  explicit NetnsScope(int home_fd) : home_fd_(home_fd) {}
  ~NetnsScope();  // the thread is back

  const int home_fd_;
};

// SO_NETNS_COOKIE of the calling thread's namespace (kernel >= 5.14); the number programs see.
[[nodiscard]] Result<uint64_t> netns_cookie();
// net.ipv4.ip_local_port_range of the calling thread's namespace; the default when it cannot be read.
[[nodiscard]] PortRange local_port_range();
// Source addresses the calling thread's namespace would use towards the outside; Family::None when it has none.
// Looks up a route, sends nothing.
[[nodiscard]] Endpoint preferred_source(int family);

enum class Transparent { No, Yes };
// Listening, non-blocking, close-on-exec, plain TCP, marked. Error AlreadyExists when the port is taken.
[[nodiscard]] Result<UniqueFd> make_listener(const Endpoint& address, uint32_t mark, Transparent transparent);
// The same for datagrams, bound. Transparent: `address` need be no interface's.
[[nodiscard]] Result<UniqueFd> make_datagram_door(const Endpoint& address, uint32_t mark, Transparent transparent);
// Non-blocking, close-on-exec socket with the mark, in the calling thread's namespace.
enum class Transport : uint8_t { Tcp, Udp };
[[nodiscard]] Result<UniqueFd> make_marked_socket(int family, uint32_t mark, Transport transport = Transport::Tcp);

}  // namespace tapdeck::kernel

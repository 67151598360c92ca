// The process behind a RunNamespace (run_namespace.h), and what the two say to each other: messages of a SEQPACKET
// socket, the first byte saying what. Nobody else uses this.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/kernel/local_routes.h"
#include "daemon/kernel/tproxy_rules.h"

namespace tapdeck::app {

struct NamespacePlan {
  unsigned listeners = 1;                 // of each family
  std::vector<kernel::Prefix> addresses;  // what the command can connect to
  std::set<Endpoint> host;                // addresses of this host, without loopback; ports 0
};

// Never returns. In the forked child: makes the namespaces, says so, waits until ids are mapped (kKeeperGoOn), makes
// the rest and hands it over. Then it looks a few times a second on which addresses of this host somebody listens
// outside, which connections are captured to; learns of such that are on tape (kKeeperPlaces); and counts when asked
// (kKeeperCount). When the other end closes, it ends all that lives there.
[[noreturn]] void keep_namespace(int socket, const NamespacePlan& plan);

inline constexpr std::string_view kKeeperGoOn = "g";
inline constexpr std::string_view kKeeperCount = "c";
inline constexpr std::string_view kKeeperPlaces = "d";  // and destinations, each behind a blank; answered by the same
inline constexpr std::string_view kKeeperFailed = "!";

// What is handed over: descriptors of the user and the network namespace, of the name sockets there are, of listeners.
inline constexpr size_t kNamespaceFds = 2;
struct Inside {
  bool has_names4 = false, has_names6 = false;
  size_t listeners = 0;
  uint64_t cookie = 0;
  Endpoint v4, v6;  // v6 may be none
};
[[nodiscard]] std::string encode(const Inside& inside);
[[nodiscard]] Result<Inside> decode_inside(std::string_view text);
[[nodiscard]] std::string encode(const kernel::RefusedPackets& packets);
[[nodiscard]] Result<kernel::RefusedPackets> decode_refused(std::string_view text);
[[nodiscard]] std::string encode_failure(const Error& error);
[[nodiscard]] Error decode_failure(std::string_view text);

// All processes in the user namespace of this inode number, and in those made below it, that may be looked at, but this
// one and `keeper`.
[[nodiscard]] std::vector<pid_t> pids_in_namespace(uint64_t inode, pid_t keeper);
// SIGKILL until nobody is left there, forks included, at most this long.
void end_all_in_namespace(uint64_t inode, pid_t keeper, std::chrono::milliseconds limit);

}  // namespace tapdeck::app

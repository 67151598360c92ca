// Resolver: host names to addresses, by c-ares on a thread of its own, so that no worker ever waits for a file or a
// name server. Only explicit and reverse upstreams have names; captured flows bring their addresses.
//
// It keeps no answers: name_cache.h does, one a worker. Simultaneous questions for one name are asked once. A changed
// /etc/resolv.conf is noticed at the next question that finds nothing else in flight.
// Owner: the app. Thread: resolve() on any worker's, its coroutine stays there.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/net/task.h"

namespace tapdeck::upstream {

struct ResolverOptions {
  std::vector<std::string> servers;         // "IP" or "IP:port"; empty: /etc/resolv.conf
  std::chrono::milliseconds timeout{5000};  // the whole look-up
};

struct Addresses {
  std::vector<Endpoint> list;  // not empty, ports 0, in the order in which to try them (RFC 6724)
  std::chrono::seconds ttl{0};
};

class Resolver {
 public:
  explicit Resolver(ResolverOptions options);
  // Open questions are answered with Cancelled; those whose askers have left are dropped.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Addresses of both families. Errors are Code::Dns with origin Upstream, and their detail says which: NXDOMAIN,
  // NODATA, SERVFAIL, REFUSED, timeout ... Cancelled when the task is.
  net::Task<Result<Addresses>> resolve(std::string host);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tapdeck::upstream

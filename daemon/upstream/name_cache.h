// NameCache: what a worker knows of names, so that a busy upstream is looked up once a while and not once a dial.
//
// Answers are kept for their TTL, at least kLeast (the hosts file has none) and at most kMost (a changed record must
// show). Failures are not kept: the next request may succeed. Owner: the worker. Thread: its own.
#pragma once

#include <chrono>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/upstream/resolver.h"

namespace tapdeck::upstream {

class NameCache {
 public:
  static constexpr std::chrono::seconds kLeast{1}, kMost{60};
  // Clients choose the names. Beyond this many the cache begins anew.
  static constexpr size_t kMaxNames = 4096;

  NameCache(Resolver& resolver, Metrics& metrics) : resolver_(resolver), metrics_(metrics) {}

  net::Task<Result<std::vector<Endpoint>>> find(std::string host);
  // None of its addresses could be reached: look it up again next time.
  void forget(const std::string& host) { known_.erase(host); }

 private:
  struct Known {
    std::vector<Endpoint> addresses;
    std::chrono::steady_clock::time_point until;
  };
  Resolver& resolver_;
  Metrics& metrics_;
  std::unordered_map<std::string, Known> known_;
};

}  // namespace tapdeck::upstream

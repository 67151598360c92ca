// NghttpdOrigin: a real HTTP/2 server, nghttpd, in the origin namespace: TLS on 443, in clear by prior knowledge on
// 8080. Thread: one.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "netns-tests/process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

class NghttpdOrigin {
 public:
  // Serves `files` ("hello.json" -> content), by IPv4 and IPv6. Returns when both ports accept.
  NghttpdOrigin(Topology& lab, const std::map<std::string, std::string>& files);
  void stop();

 private:
  std::unique_ptr<Process> tls_, clear_;
};

// The path of "h2spec" or "h2specd", the public HTTP/2 conformance suite, built by Go once and cached.
[[nodiscard]] std::string h2_suite(const std::string& tool);

}  // namespace tapdeck::lab

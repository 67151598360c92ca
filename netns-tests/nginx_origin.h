// NginxOrigin: a real nginx in the origin namespace: TLS 1.2 and 1.3, HTTP/1.1, static files, IPv4 and IPv6.
// Thread: one.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "netns-tests/process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

class NginxOrigin {
 public:
  // Serves `files` ("hello.json" -> content) on 443 (TLS) and 80. Returns when both accept.
  NginxOrigin(Topology& lab, const std::map<std::string, std::string>& files);
  void stop();

 private:
  std::unique_ptr<Process> process_;
};

}  // namespace tapdeck::lab

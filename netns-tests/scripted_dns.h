// ScriptedDns: a name server (UDP, IPv4) in a namespace that answers by script. Not a resolver: one question a packet,
// A and AAAA. Thread: one of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "netns-tests/namespace.h"

namespace tapdeck::lab {

struct DnsAnswer {
  int code = 0;  // RCODE: 0 no error, 2 SERVFAIL, 3 NXDOMAIN
  std::vector<std::string> addresses = {};
  bool silent = false;
};

class ScriptedDns {
 public:
  using Script = std::function<DnsAnswer(const std::string& name)>;
  ScriptedDns(const Namespace& where, uint16_t port, Script script);
  ScriptedDns(const ScriptedDns&) = delete;
  ScriptedDns& operator=(const ScriptedDns&) = delete;
  ~ScriptedDns();
  [[nodiscard]] uint64_t questions() const { return questions_; }

 private:
  void serve();
  [[nodiscard]] std::string answer(const std::string& question) const;

  Script script_;
  UniqueFd fd_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> questions_{0};
  std::thread thread_;
};

}  // namespace tapdeck::lab

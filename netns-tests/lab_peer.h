// The parts of lab_peer (see lab_peer_main.cc for its command line). Runs in a process of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::lab {

// Flags as "--name value" or "--name"; the rest in order.
struct PeerArguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> flags;
  [[nodiscard]] bool has(const std::string& name) const { return flags.contains(name); }
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise = "") const;
  [[nodiscard]] long number(const std::string& name, long otherwise) const;
  [[nodiscard]] Endpoint destination() const;  // words[1], words[2]
};

int lab_peer(const std::vector<std::string>& arguments);
int peer_bytes(const PeerArguments& arguments);
int peer_load(const PeerArguments& arguments);
// Blocking connect from `local_port` (0: any) within `deadline_ms`; an empty descriptor and errno when it fails.
[[nodiscard]] UniqueFd dial(const Endpoint& destination, uint16_t local_port, long deadline_ms);

}  // namespace tapdeck::lab

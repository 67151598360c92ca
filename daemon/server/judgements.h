// Judgements: which clients have taken a certificate that they were shown, and how many connections they closed at one
// without a word. One that has taken it for a name trusts its issuer: where it closes another connection at it, before
// or later, it had no use for that connection (downloaders and browsers open more than they need).
//
// Owner: the Engine. Thread: any; workers add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/exchange/flow.h"

namespace tapdeck::server {

// A process of a target, where the capture path knows it, else an address, and the name it asked for in TLS.
[[nodiscard]] std::string judge_of(const exchange::CapturedFlow& flow, std::string_view sni);

class Judgements {
 public:
  static constexpr size_t kMost = 4096;  // judges that are known; full, it starts afresh

  // `judge` took the certificate: its handshake was completed.
  void took(const std::string& judge);
  // `judge` closed its connection at the certificate. True: it had taken it before. Else it counts as one that does not
  // trust its issuer until it takes it.
  [[nodiscard]] bool left(const std::string& judge);
  // How many left() has said false of whose judge took it later.
  [[nodiscard]] uint64_t taken_back() const;

 private:
  struct Known {
    bool has_taken = false;
    uint64_t left = 0;
  };
  [[nodiscard]] Known& find(const std::string& judge);

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;
  uint64_t taken_back_ = 0;
};

}  // namespace tapdeck::server

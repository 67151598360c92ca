// OwnAddresses: where this process itself listens. Nothing is ever forwarded there: a client of the explicit proxy must
// not reach the admin API through us, nor send us to ourselves in a circle (docs of CVE-2025-23217 and its class).
//
// Filled before the workers start, then immutable but for the listeners of the capture, which come and go. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "daemon/base/endpoint.h"

namespace tapdeck::upstream {

class OwnAddresses {
 public:
  void add(const Endpoint& listening) { all_.push_back(listening); }
  // The explicit listener, also one of the others.
  void add_proxy(const Endpoint& listening) {
    proxy_.push_back(listening);
    add(listening);
  }

  // A listener of the capture in this process's own network namespace: on loopback.
  void add_captured(uint64_t listener_id, const Endpoint& listening);
  void remove_captured(uint64_t listener_id);

  // Connecting to `destination` from here would end at one of our listeners. An unspecified address means loopback, as
  // it does for connect(); a listener on an unspecified one is reached by every address of this host. Where the kernel
  // cannot be asked which those are (no descriptor is left), all are taken for such, and the log says so.
  [[nodiscard]] bool contains(const Endpoint& destination) const {
    return is_any_of(all_, destination) || is_captured(destination);
  }
  [[nodiscard]] bool is_proxy(const Endpoint& destination) const { return is_any_of(proxy_, destination); }

 private:
  [[nodiscard]] static bool is_any_of(const std::vector<Endpoint>& listeners, const Endpoint& destination);
  [[nodiscard]] bool is_captured(const Endpoint& destination) const;
  std::vector<Endpoint> all_, proxy_;
  // Workers take it only for dials to loopback, which no captured client makes.
  mutable std::mutex mutex_;
  std::multimap<uint64_t, Endpoint> captured_;
};

}  // namespace tapdeck::upstream

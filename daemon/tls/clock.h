// The wall clock of certificates and tickets, replaceable in tests. Whole seconds, because ASN.1 times are.
#pragma once

#include <chrono>
#include <functional>

namespace tapdeck::tls {

using Time = std::chrono::sys_seconds;
using Clock = std::function<Time()>;

[[nodiscard]] inline Time system_now() {
  return std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace tapdeck::tls

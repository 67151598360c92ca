// Violation: why a WebSocket peer's bytes cannot be taken, and the close code that says so (RFC 6455 7.4.1).
// Plain value. Thread: any.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace tapdeck::ws {

enum CloseCode : uint16_t {
  kNormal = 1000,
  kProtocolError = 1002,
  kNoStatus = 1005,  // never on the wire: the Close frame had no code
  kInvalidData = 1007,
  kPolicy = 1008,
  kTooBig = 1009,
  kInternal = 1011,
};

struct Violation {
  uint16_t code = kProtocolError;
  std::string detail;
};
template <class T>
using Checked = std::expected<T, Violation>;

[[nodiscard]] inline std::unexpected<Violation> violation(uint16_t code, std::string detail) {
  return std::unexpected(Violation{code, std::move(detail)});
}

// May stand in a Close frame: 1000..1003, 1007..1014 and 3000..4999 (RFC 6455 7.4, IANA registry).
[[nodiscard]] constexpr bool is_close_code(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

}  // namespace tapdeck::ws

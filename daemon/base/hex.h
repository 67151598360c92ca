// Bytes as people read them: digests, fingerprints, random ids. Thread: any. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace tapdeck {

// Two lower-case digits a byte.
[[nodiscard]] inline std::string to_hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

}  // namespace tapdeck

// DNS messages as resolvers send them, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/name_answers.h"

namespace tapdeck::app::dns {

inline constexpr uint16_t kA = 1, kAaaa = 28;

inline std::string word(size_t value) {
  return {static_cast<char>(value >> 8 & 255), static_cast<char>(value & 255)};
}

struct Record {
  uint16_t type;
  std::string data;
};

// To a question for www.test; its records are of that name.
inline std::string reply(uint16_t type, unsigned rcode, const std::vector<Record>& records = {}) {
  std::string out = word(7) + word(0x8180 | rcode) + word(1) + word(records.size()) + word(0) + word(0);
  out += std::string("\3www\4test\0", 10) + word(type) + word(1);
  for (const Record& record : records)
    out += word(0xC00C) + word(record.type) + word(1) + word(0) + word(60) + word(record.data.size()) + record.data;
  return out;
}

inline const std::string kOne("\xC0\x00\x02\x01", 4), kTwo("\xC0\x00\x02\x02", 4);

inline store::NameAnswer answered(uint16_t type, std::string message) {
  return {.name = "www.test", .type = type, .end = "answered", .reply = std::move(message)};
}

}  // namespace tapdeck::app::dns

// Lookup: one question for a name and what became of it: what is recorded of a resolver, and answered from in replay.
// Thread: any; a value.
#pragma once

#include <cstdint>
#include <string>

namespace tapdeck::names {

enum class LookupEnd : uint8_t {
  Answered,
  Silent,       // nothing came in time
  Unreachable,  // ICMP said that nobody is there, or no way leads there
};

// Its class is IN.
struct Lookup {
  std::string name;  // as Query::name (dns_message.h)
  uint16_t type = 0;
  LookupEnd end = LookupEnd::Answered;
  std::string reply;  // as the resolver sent it, whole; empty unless Answered
  friend bool operator==(const Lookup&, const Lookup&) = default;
};

}  // namespace tapdeck::names

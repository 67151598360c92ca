// LabError: the lab could not be built (no root, a tool is missing, an address is taken). The daemon throws nothing;
// the lab throws this one type, because GoogleTest turns it into a failed test and unwinding removes what was built so
// far.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace tapdeck::lab {

struct LabError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void raise(const std::string& what) {
  throw LabError(what);
}
[[noreturn]] inline void raise_errno(const std::string& what) {
  throw LabError(what + ": " + std::strerror(errno));
}

}  // namespace tapdeck::lab

// FieldPath: which field of a gRPC message a route's `grpc.match_fields` means.
//
//   "user.id", "$.user.id"   by name; needs proto_files        "2.3"   by field number; needs nothing
//   "items[1].id"            the second of a repeated field; without [n] (or with [*]) all of them
//   "$[0].user.id"           of the first message of a stream only; without it, of each message
//
// Plain values. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::config {

struct FieldPath {
  struct Step {
    uint32_t number = 0;  // 0: by name
    std::string name;
    std::optional<size_t> element;
  };
  std::string text;               // as configured
  std::optional<size_t> message;  // unset: every message
  std::vector<Step> steps;        // at least one; all by number or all by name

  [[nodiscard]] bool is_numeric() const { return steps.front().number != 0; }

  // InvalidArgument says what is wrong. Numbers are 1 to 536870911, as protobuf allows.
  [[nodiscard]] static Result<FieldPath> parse(std::string_view text);
};

}  // namespace tapdeck::config

// JsonPath: which values of a JSON text a route's rule means.
//
//   "$.id"  "$.payload.user.id"  "$.items[0]"  "$.items[*].id"  "$['odd name']"  "$..id" (at any depth)
//   "/payload/user/id"           the same as a JSON pointer (RFC 6901)
//
// No filters, slices or scripts. Plain values; walking a text is the user's (modes/json_rules.h). Thread: any.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::config {

struct JsonPath {
  struct Step {
    enum class Kind { Name, Any, AnyDepth };  // Any: every member or element; AnyDepth: here and everywhere below
    Kind kind = Kind::Name;
    std::string name;             // of a member
    std::optional<size_t> index;  // of an element, when `name` may be one
  };
  std::string text;  // as configured
  std::vector<Step> steps;

  // InvalidArgument says what is wrong. At most 32 steps.
  [[nodiscard]] static Result<JsonPath> parse(std::string_view text);
};

}  // namespace tapdeck::config

// JsonDifference: where two JSON texts part, and which values had to be left out for them to be the same. Pure.
// Thread: any.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "daemon/modes/json_tree.h"

namespace tapdeck::modes {

// A text and which of its values do not count, by index.
struct RuledJson {
  JsonTree tree;
  std::vector<bool> ignored;
};

struct JsonDifference {
  std::string first;  // where they first differ, for people: "$.a[2].b"; empty: nowhere
  // Without the values at these places they would be the same, as far as a path can say it (config/json_path.h): each
  // the smallest such value, so that of an object with a member more it is the object. In order; at most kMostPlaces.
  std::vector<std::string> places;
  // How much of them: scalars and empty containers.
  size_t differing = 0;
  size_t alike = 0;

  static constexpr size_t kMostPlaces = 32;
};

[[nodiscard]] JsonDifference difference_between(const RuledJson& a, const RuledJson& b);

}  // namespace tapdeck::modes

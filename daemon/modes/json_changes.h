// Where two JSON texts differ by value, all places up to a number, for people. Not a rule by which texts count as equal
// (json_rules.h). Pure; time and memory grow with the texts. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/modes/json_tree.h"

namespace tapdeck::modes {

struct JsonChange {
  std::string path;                                    // "$.user.id", "$.items[2]['odd name']"; of a long one the end
  std::vector<std::string> names;                      // of the members that it lies in, the outermost first
  std::optional<JsonTree::Index> recorded, requested;  // nullopt: it has none there
};

// The first `most`: members by name, of the same name in order, elements by their place, scalars by their identity.
[[nodiscard]] std::vector<JsonChange> json_changes(const JsonTree& recorded, const JsonTree& requested, size_t most);

}  // namespace tapdeck::modes

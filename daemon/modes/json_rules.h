// JsonRules: compares JSON texts by value, leaving out what a route's paths name. Pure and bounded: a text that is
// nested deeper than 128 is not taken for JSON. Thread: any (immutable).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/config/json_path.h"

namespace tapdeck::modes {

// Values at ignored places of recorded texts, and what stands there now; both as JSON.
using Replacements = std::map<std::string, std::string>;

class JsonRules {
 public:
  // Paths that do not parse are left out; the configuration has refused them.
  explicit JsonRules(const std::vector<std::string>& ignore);

  // The same for texts that are equal under the rules: member order and blanks do not count, 1 equals 1.0, ignored
  // values are all the same. nullopt: not JSON.
  [[nodiscard]] std::optional<std::string> canonical(std::string_view text) const;
  // Where the texts first differ under the rules, "$.a[2].b"; nullopt: nowhere, or one is not JSON.
  [[nodiscard]] std::optional<std::string> difference(std::string_view recorded, std::string_view received) const;
  // Adds the scalars at ignored places that differ between the two.
  void learn(std::string_view recorded, std::string_view received, Replacements& replacements) const;
  // `text` with the values at ignored places that were learnt; unchanged, byte for byte, when there is none.
  [[nodiscard]] std::string replaced(std::string_view text, const Replacements& replacements) const;

 private:
  std::vector<config::JsonPath> ignore_;
};

}  // namespace tapdeck::modes

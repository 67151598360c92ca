// JsonRules: compares JSON texts by value, leaving out what a route's paths name, and puts fresh values where those of
// the recording stand, changing no other byte. Pure; bounded as json_tree.h is. Thread: any (immutable).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/config/json_path.h"

namespace tapdeck::modes {

// Scalars at ignored places of recorded texts (JsonTree::identity), and the client's text for what stands there now.
using Replacements = std::map<std::string, std::string>;

class JsonRules {
 public:
  // Paths that do not parse are left out; the configuration has refused them.
  explicit JsonRules(const std::vector<std::string>& ignore);

  // The same for texts that are equal under the rules: member order and blanks do not count, scalars by their identity
  // (json_tree.h), ignored values are all the same. Of a name that comes twice both count. nullopt: not JSON.
  [[nodiscard]] std::optional<std::string> canonical(std::string_view text) const;
  // Where the texts first differ under the rules, "$.a[2].b"; nullopt: nowhere, or one is not JSON.
  [[nodiscard]] std::optional<std::string> difference(std::string_view recorded, std::string_view received) const;
  // Adds the scalars at ignored places that differ between the two, but for null.
  void learn(std::string_view recorded, std::string_view received, Replacements& replacements) const;
  // `text` with the values at ignored places that were learnt; every other byte of it as it is.
  [[nodiscard]] std::string replaced(std::string_view text, const Replacements& replacements) const;

 private:
  std::vector<config::JsonPath> ignore_;
};

}  // namespace tapdeck::modes

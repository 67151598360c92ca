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
#include "daemon/modes/json_difference.h"

namespace tapdeck::modes {

// What scalars at ignored places of recorded texts (by JsonTree::identity) have become, by the path that was ignored
// (its place in the list): the client's text, or nullopt where the client says the same.
using Replacements = std::map<std::string, std::map<size_t, std::optional<std::string>>, std::less<>>;

class JsonRules {
 public:
  // Paths that do not parse are left out; the configuration has refused them.
  explicit JsonRules(const std::vector<std::string>& ignore);

  // The same for texts that are equal under the rules: member order and blanks do not count, scalars by their identity
  // (json_tree.h), ignored values are all the same. Of a name that comes twice both count. nullopt: not JSON.
  [[nodiscard]] std::optional<std::string> canonical(std::string_view text) const;
  // How the texts differ under the rules; nullopt: one is not JSON.
  [[nodiscard]] std::optional<JsonDifference> difference(std::string_view recorded, std::string_view received) const;
  // These paths and those beside them under which the texts would be the same; empty: no such rules can be written.
  [[nodiscard]] std::vector<std::string> paths_to_ignore(std::string_view recorded, std::string_view received) const;
  // Adds the scalars at ignored places, but for null; what is learnt last counts. Of a value that stands at several
  // places of one path, and stays at some of them only, the fresh one counts.
  void learn(std::string_view recorded, std::string_view received, Replacements& replacements) const;
  // `text` with the values at ignored places that were learnt; every other byte of it as it is. A value that was learnt
  // at other paths alone is replaced where they agree on what it has become.
  [[nodiscard]] std::string replaced(std::string_view text, const Replacements& replacements) const;

 private:
  std::vector<config::JsonPath> ignore_;
};

}  // namespace tapdeck::modes

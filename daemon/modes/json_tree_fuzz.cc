// Any bytes: ranges lie in the text and are JSON by themselves, what is JSON is equal to itself, and carrying a value
// over leaves JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/modes/json_rules.h"
#include "daemon/modes/json_tree.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tapdeck::modes;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const JsonRules rules({"$.id", "$..k", "$.v[*].*"});
  const auto tree = JsonTree::parse(text);
  const auto canonical = rules.canonical(text);
  if (tree.has_value() != canonical.has_value()) std::abort();
  if (!tree) return 0;
  for (JsonTree::Index at = 0; at < tree->size(); ++at) {
    if (tree->offset(at) + tree->text(at).size() > size || !JsonTree::parse(tree->text(at))) std::abort();
    for (const JsonTree::Index member : tree->is_object(at) ? tree->children(at) : std::vector<JsonTree::Index>()) {
      if (tree->members(at, tree->name(member)).empty()) std::abort();
    }
  }
  const auto parts = rules.difference(text, text);
  if (!parts || !parts->first.empty() || parts->differing != 0) std::abort();
  Replacements learnt;
  learnt["#1e0"][0] = "\"fresh\"";
  learnt["\"old"][1] = "[1]";
  const std::string sent = rules.replaced(text, learnt);
  if (rules.canonical(sent) != canonical) std::abort();
  return 0;
}

#include "daemon/modes/json_rules.h"

#include <algorithm>
#include <utility>

#include "daemon/modes/json_tree.h"

namespace tapdeck::modes {

namespace {

using Index = JsonTree::Index;
using Step = config::JsonPath::Step;

// Calls each(value) for every value that the steps from `at` on lead to.
template <class Each>
void walk(const JsonTree& tree, Index value, const std::vector<Step>& steps, size_t at, const Each& each) {
  if (at == steps.size()) return each(value);
  const Step& step = steps[at];
  const auto into_all = [&](size_t next) {
    for (const Index child : tree.children(value)) walk(tree, child, steps, next, each);
  };
  switch (step.kind) {
    case Step::Kind::AnyDepth:
      walk(tree, value, steps, at + 1, each);
      return into_all(at);
    case Step::Kind::Any:
      return into_all(at + 1);
    case Step::Kind::Name:
      if (tree.is_object(value)) {
        for (const Index member : tree.members(value, step.name)) walk(tree, member, steps, at + 1, each);
      } else if (tree.is_array(value) && step.index) {
        const std::vector<Index> elements = tree.children(value);
        if (*step.index < elements.size()) walk(tree, elements[*step.index], steps, at + 1, each);
      }
      return;
  }
}

std::optional<RuledJson> read(std::string_view text, const std::vector<config::JsonPath>& ignore) {
  auto tree = JsonTree::parse(text);
  if (!tree) return std::nullopt;
  std::vector<bool> ignored(tree->size());
  for (const auto& path : ignore) walk(*tree, 0, path.steps, 0, [&](Index value) { ignored[value] = true; });
  return RuledJson{std::move(*tree), std::move(ignored)};
}

// With its length before it, so that nothing in it can be taken for what comes after.
void append(std::string& out, const std::string& text) {
  out += std::to_string(text.size()) + ':' + text;
}

void append_canonical(const RuledJson& ruled, Index value, std::string& out) {
  const JsonTree& tree = ruled.tree;
  if (ruled.ignored[value]) return append(out, "null");
  if (tree.is_scalar(value)) return append(out, tree.identity(value));
  out += tree.is_object(value) ? '{' : '[';
  for (const Index child : tree.children(value)) {
    if (tree.is_object(value)) append(out, tree.name(child));
    append_canonical(ruled, child, out);
  }
  out += '}';
}

std::vector<Index> values_at(const JsonTree& tree, const config::JsonPath& path) {
  std::vector<Index> values;
  walk(tree, 0, path.steps, 0, [&](Index value) { values.push_back(value); });
  return values;
}

// What goes to the place of a value.
struct Splice {
  size_t length;               // of the value
  const std::string* fresh;    // null: it stays
  bool is_learnt_at_its_path;  // else at other paths alone
};

Splice splice_of(size_t length, const Replacements::mapped_type& learnt, size_t path) {
  const auto own = learnt.find(path);
  const bool is_own = own != learnt.end();
  const auto& become = is_own ? own->second : learnt.begin()->second;
  const bool agree = std::ranges::all_of(learnt, [&](const auto& one) { return one.second == become; });
  return {length, become && (is_own || agree) ? &*become : nullptr, is_own};
}

}  // namespace

JsonRules::JsonRules(const std::vector<std::string>& ignore) {
  for (const std::string& text : ignore) {
    if (auto path = config::JsonPath::parse(text)) ignore_.push_back(std::move(*path));
  }
}

std::optional<std::string> JsonRules::canonical(std::string_view text) const {
  const auto ruled = read(text, ignore_);
  if (!ruled) return std::nullopt;
  std::string out;
  append_canonical(*ruled, 0, out);
  return out;
}

std::optional<JsonDifference> JsonRules::difference(std::string_view recorded, std::string_view received) const {
  const auto a = read(recorded, ignore_), b = read(received, ignore_);
  if (!a || !b) return std::nullopt;
  return difference_between(*a, *b);
}

std::vector<std::string> JsonRules::paths_to_ignore(std::string_view recorded, std::string_view received) const {
  const auto parts = difference(recorded, received);
  if (!parts || parts->places.empty()) return {};
  std::vector<std::string> paths;
  for (const auto& path : ignore_) paths.push_back(path.text);
  paths.insert(paths.end(), parts->places.begin(), parts->places.end());
  // Not every place can be written as a path, and the texts as a whole have none.
  const JsonRules wider(paths);
  return wider.canonical(recorded) == wider.canonical(received) ? paths : std::vector<std::string>();
}

void JsonRules::learn(std::string_view recorded, std::string_view received, Replacements& replacements) const {
  if (ignore_.empty()) return;
  const auto a = JsonTree::parse(recorded), b = JsonTree::parse(received);
  if (!a || !b) return;
  for (size_t path = 0; path < ignore_.size(); ++path) {
    const std::vector<Index> before = values_at(*a, ignore_[path]), now = values_at(*b, ignore_[path]);
    if (before.size() != now.size()) continue;
    std::map<std::string, std::optional<std::string>> learnt;
    for (size_t i = 0; i < before.size(); ++i) {
      if (!a->is_scalar(before[i]) || a->is_null(before[i]) || !b->is_scalar(now[i]) || b->is_null(now[i])) continue;
      std::string old = a->identity(before[i]);
      if (old == b->identity(now[i])) {
        learnt.try_emplace(std::move(old));
      } else {
        learnt[std::move(old)] = std::string(b->text(now[i]));
      }
    }
    for (auto& [old, fresh] : learnt) replacements[old][path] = std::move(fresh);
  }
}

std::string JsonRules::replaced(std::string_view text, const Replacements& replacements) const {
  std::string out;
  const auto tree = replacements.empty() ? std::nullopt : JsonTree::parse(text);
  if (!tree) return std::string(text);
  std::map<size_t, Splice> splices;  // by offset
  for (size_t path = 0; path < ignore_.size(); ++path) {
    for (const Index value : values_at(*tree, ignore_[path])) {
      if (!tree->is_scalar(value)) continue;
      const auto found = replacements.find(tree->identity(value));
      if (found == replacements.end()) continue;
      const Splice splice = splice_of(tree->text(value).size(), found->second, path);
      const auto [at, is_new] = splices.try_emplace(tree->offset(value), splice);
      if (!is_new && splice.is_learnt_at_its_path) at->second = splice;
    }
  }
  size_t done = 0;
  for (const auto& [offset, splice] : splices) {
    if (splice.fresh == nullptr) continue;
    out += text.substr(done, offset - done);
    out += *splice.fresh;
    done = offset + splice.length;
  }
  return out += text.substr(done);
}

}  // namespace tapdeck::modes

#include "daemon/modes/json_rules.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace tapdeck::modes {

namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;
using Step = config::JsonPath::Step;

// Walking and comparing recurse: this keeps the stack flat whatever a peer sends.
constexpr int kMaxDepth = 128;

bool is_shallow(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

template <class J>
std::optional<J> parse(std::string_view text) {
  if (!is_shallow(text)) return std::nullopt;
  J json = J::parse(text, nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

// Calls each(value) for every value that the steps from `at` on lead to.
template <class J, class Each>
void walk(J& value, const std::vector<Step>& steps, size_t at, const Each& each) {
  if (at == steps.size()) return each(value);
  const Step& step = steps[at];
  const auto into_all = [&](size_t next) {
    for (auto& child : value) walk(child, steps, next, each);
  };
  switch (step.kind) {
    case Step::Kind::AnyDepth:
      walk(value, steps, at + 1, each);
      if (value.is_structured()) into_all(at);
      return;
    case Step::Kind::Any:
      if (value.is_structured()) into_all(at + 1);
      return;
    case Step::Kind::Name:
      if (value.is_object()) {
        const auto member = value.find(step.name);
        if (member != value.end()) walk(*member, steps, at + 1, each);
      } else if (value.is_array() && step.index && *step.index < value.size()) {
        walk(value[*step.index], steps, at + 1, each);
      }
      return;
  }
}

std::string text_of(const auto& json) {
  return json.dump(-1, ' ', false, std::decay_t<decltype(json)>::error_handler_t::replace);
}

std::optional<std::string> first_difference(const Json& a, const Json& b, const std::string& where) {
  if (a == b) return std::nullopt;
  if (a.is_object() && b.is_object()) {
    for (const auto& [name, value] : a.items()) {
      const auto other = b.find(name);
      if (other == b.end()) return where + '.' + name;
      if (auto found = first_difference(value, *other, where + '.' + name)) return found;
    }
    for (const auto& [name, value] : b.items()) {
      if (!a.contains(name)) return where + '.' + name;
    }
  }
  if (a.is_array() && b.is_array()) {
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      if (auto found = first_difference(a[i], b[i], where + '[' + std::to_string(i) + ']')) return found;
    }
    return where + '[' + std::to_string(std::min(a.size(), b.size())) + ']';
  }
  return where;
}

// 1.0 and 1 are the same number and must be written the same.
void settle_numbers(Json& value) {
  if (value.is_structured()) {
    for (auto& child : value) settle_numbers(child);
    return;
  }
  if (!value.is_number_float()) return;
  const double number = value.get<double>();
  if (std::abs(number) < 9007199254740992.0 && std::trunc(number) == number) value = static_cast<int64_t>(number);
}

}  // namespace

JsonRules::JsonRules(const std::vector<std::string>& ignore) {
  for (const std::string& text : ignore) {
    if (auto path = config::JsonPath::parse(text)) ignore_.push_back(std::move(*path));
  }
}

std::optional<std::string> JsonRules::canonical(std::string_view text) const {
  auto json = parse<Json>(text);
  if (!json) return std::nullopt;
  for (const auto& path : ignore_) walk(*json, path.steps, 0, [](Json& value) { value = nullptr; });
  settle_numbers(*json);
  return text_of(*json);
}

std::optional<std::string> JsonRules::difference(std::string_view recorded, std::string_view received) const {
  auto a = parse<Json>(recorded), b = parse<Json>(received);
  if (!a || !b) return std::nullopt;
  for (const auto& path : ignore_) {
    for (Json* json : {&*a, &*b}) walk(*json, path.steps, 0, [](Json& value) { value = nullptr; });
  }
  return first_difference(*a, *b, "$");
}

void JsonRules::learn(std::string_view recorded, std::string_view received, Replacements& replacements) const {
  auto a = parse<Json>(recorded), b = parse<Json>(received);
  if (!a || !b) return;
  for (const auto& path : ignore_) {
    std::vector<std::string> before, now;
    const auto take = [](std::vector<std::string>& into) {
      return [&into](const Json& value) {
        if (value.is_primitive() && !value.is_null()) into.push_back(text_of(value));
      };
    };
    walk(*a, path.steps, 0, take(before));
    walk(*b, path.steps, 0, take(now));
    if (before.size() != now.size()) continue;
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i] != now[i]) replacements.insert_or_assign(before[i], now[i]);
    }
  }
}

std::string JsonRules::replaced(std::string_view text, const Replacements& replacements) const {
  if (replacements.empty()) return std::string(text);
  auto json = parse<Ordered>(text);
  if (!json) return std::string(text);
  bool changed = false;
  const auto replace = [&](Ordered& value) {
    if (!value.is_primitive()) return;
    const auto found = replacements.find(text_of(value));
    if (found == replacements.end()) return;
    value = Ordered::parse(found->second, nullptr, false);
    changed = true;
  };
  for (const auto& path : ignore_) walk(*json, path.steps, 0, replace);
  return changed ? text_of(*json) : std::string(text);
}

}  // namespace tapdeck::modes

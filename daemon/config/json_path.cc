#include "daemon/config/json_path.h"

#include <charconv>
#include <utility>

namespace tapdeck::config {

namespace {

constexpr size_t kMaxPathSteps = 32;
using Step = JsonPath::Step;

std::optional<size_t> index_of(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return value;
}

std::unexpected<Error> wrong(std::string what) {
  return fail(Code::InvalidArgument, std::move(what), Origin::Internal);
}

Result<std::vector<Step>> parse_pointer(std::string_view text) {
  std::vector<Step> steps;
  while (!text.empty()) {
    text.remove_prefix(1);  // '/'
    const size_t end = std::min(text.find('/'), text.size());
    Step step;
    for (size_t i = 0; i < end; ++i) {
      if (text[i] != '~') {
        step.name += text[i];
        continue;
      }
      ++i;
      if (i >= end || (text[i] != '0' && text[i] != '1')) return wrong("has a '~' that is neither ~0 nor ~1");
      step.name += text[i] == '0' ? '~' : '/';
    }
    step.index = index_of(step.name);
    steps.push_back(std::move(step));
    text.remove_prefix(end);
  }
  return steps;
}

// "[...]": takes it off `text`.
Result<Step> parse_bracket(std::string_view& text) {
  Step step;
  if (text.size() > 1 && (text[1] == '\'' || text[1] == '"')) {
    const size_t end = text.find(text[1], 2);
    if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != ']') {
      return wrong("has a quoted name that does not end");
    }
    step.name = text.substr(2, end - 2);
    text.remove_prefix(end + 2);
    return step;
  }
  const size_t end = text.find(']');
  if (end == std::string_view::npos) return wrong("has a '[' without ']'");
  const std::string_view inside = text.substr(1, end - 1);
  text.remove_prefix(end + 1);
  if (inside == "*") {
    step.kind = Step::Kind::Any;
    return step;
  }
  step.index = index_of(inside);
  if (!step.index) return wrong("has '[" + std::string(inside) + "]'; an element is [0], [*] or ['name']");
  step.name = inside;
  return step;
}

Result<std::vector<Step>> parse_dollar(std::string_view text) {
  std::vector<Step> steps;
  text.remove_prefix(1);  // '$'
  while (!text.empty()) {
    if (text.front() == '[') {
      TRY(step, parse_bracket(text));
      steps.push_back(std::move(step));
      continue;
    }
    if (text.front() != '.') return wrong("continues with neither '.' nor '['");
    text.remove_prefix(1);
    if (text.starts_with('.')) {
      steps.push_back({Step::Kind::AnyDepth, {}, {}});
      text.remove_prefix(1);
    }
    if (text.starts_with('[')) continue;
    const std::string_view name = text.substr(0, text.find_first_of(".["));
    if (name.empty()) return wrong("has an empty name");
    text.remove_prefix(name.size());
    steps.push_back(name == "*" ? Step{Step::Kind::Any, {}, {}} : Step{Step::Kind::Name, std::string(name), {}});
  }
  return steps;
}

}  // namespace

Result<JsonPath> JsonPath::parse(std::string_view text) {
  JsonPath path;
  path.text = text;
  if (!text.starts_with('$') && !text.starts_with('/')) return wrong("begins with neither '$' nor '/'");
  TRY(steps, text.starts_with('$') ? parse_dollar(text) : parse_pointer(text));
  if (steps.empty() || steps.back().kind == Step::Kind::AnyDepth) return wrong("names no value");
  if (steps.size() > kMaxPathSteps) return wrong("has more than 32 steps");
  path.steps = std::move(steps);
  return path;
}

}  // namespace tapdeck::config

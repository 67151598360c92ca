#include "daemon/config/field_path.h"

#include <algorithm>
#include <charconv>

namespace tapdeck::config {
namespace {

constexpr uint32_t kMaxFieldNumber = (1u << 29) - 1;
constexpr size_t kMaxSteps = 32;
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

// Takes "[3]" or "[*]" from the front; false: malformed.
bool take_index(std::string_view& text, std::optional<size_t>& index) {
  if (!text.starts_with('[')) return true;
  const size_t close = text.find(']');
  if (close == std::string_view::npos) return false;
  const std::string_view inside = text.substr(1, close - 1);
  text.remove_prefix(close + 1);
  if (inside == "*") return true;
  size_t value = 0;
  const auto [rest, error] = std::from_chars(inside.data(), inside.data() + inside.size(), value);
  if (inside.empty() || error != std::errc() || rest != inside.data() + inside.size()) return false;
  index = value;
  return true;
}

// Takes "name" or "12" with its index.
bool take_step(std::string_view& text, FieldPath::Step& step) {
  const std::string_view word = text.substr(0, std::min(text.find_first_not_of(kWord), text.size()));
  if (word.empty()) return false;
  text.remove_prefix(word.size());
  if (kDigits.contains(word.front())) {
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), step.number);
    if (error != std::errc() || rest != word.data() + word.size()) return false;
    if (step.number == 0 || step.number > kMaxFieldNumber) return false;
  } else {
    step.name = word;
  }
  return take_index(text, step.element);
}

}  // namespace

Result<FieldPath> FieldPath::parse(std::string_view text) {
  FieldPath path;
  path.text = text;
  const auto wrong = [&path] {
    return fail(Code::InvalidArgument,
                "'" + path.text + "' is not a field path: names or field numbers with dots between, for example " +
                    "\"user.id\", \"2.3\", \"items[0].id\" or \"$[0].user.id\"");
  };
  if (text.starts_with('$')) {
    text.remove_prefix(1);
    if (!take_index(text, path.message) || !text.starts_with('.')) return wrong();
    text.remove_prefix(1);
  }
  while (true) {
    if (!take_step(text, path.steps.emplace_back()) || path.steps.size() > kMaxSteps) return wrong();
    if ((path.steps.back().number != 0) != path.is_numeric()) return wrong();
    if (text.empty()) return path;
    if (text.front() != '.') return wrong();
    text.remove_prefix(1);
  }
}

}  // namespace tapdeck::config

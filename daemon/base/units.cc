#include "daemon/base/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

namespace tapdeck {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit kDurations[] = {{"d", 86'400'000'000'000},
                               {"h", 3'600'000'000'000},
                               {"m", 60'000'000'000},
                               {"s", 1'000'000'000},
                               {"ms", 1'000'000},
                               {"us", 1'000},
                               {"ns", 1}};
constexpr Unit kSizes[] = {
    {"TiB", 1ULL << 40},       {"GiB", 1ULL << 30},   {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"B", 1},
    {"TB", 1'000'000'000'000}, {"GB", 1'000'000'000}, {"MB", 1'000'000},   {"kB", 1'000},       {"KB", 1'000}};

// One "<number><unit>" at the front of `text`, which moves past it; nullopt when there is none or it overflows.
template <size_t n>
std::optional<uint64_t> take(std::string_view& text, const Unit (&units)[n]) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, digits);
  const auto rest = text.substr(digits);
  const size_t letters = std::min(
      static_cast<size_t>(std::ranges::find_if_not(rest, [](char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }) -
                          rest.begin()),
      rest.size());
  const auto unit = std::ranges::find(units, rest.substr(0, letters), &Unit::name);
  if (number.empty() || unit == std::end(units)) return std::nullopt;
  uint64_t whole = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), whole);
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (error != std::errc() || whole > kMax / unit->factor) return std::nullopt;
  uint64_t value = whole * unit->factor;
  if (end != number.data() + number.size()) {  // decimals, at most nine
    const std::string_view decimals(end + 1, number.data() + number.size());
    uint64_t fraction = 0;
    uint64_t scale = 1;
    if (*end != '.' || decimals.empty() || decimals.size() > 9) return std::nullopt;
    for (const char c : decimals) {
      if (c == '.') return std::nullopt;
      fraction = fraction * 10 + static_cast<uint64_t>(c - '0');
      scale *= 10;
    }
    value += static_cast<uint64_t>(static_cast<long double>(fraction) * static_cast<long double>(unit->factor) /
                                   static_cast<long double>(scale));
    if (value > kMax) return std::nullopt;
  }
  text.remove_prefix(digits + letters);
  return value;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::InvalidArgument,
                "'" + std::string(text) + "' is not a duration; write for example \"300ms\", \"10s\" or \"1h30m\"");
  };
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return bad();
  std::string_view rest = text;
  uint64_t total = 0;
  while (!rest.empty()) {
    const auto part = take(rest, kDurations);
    if (!part || *part > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - total) return bad();
    total += *part;
  }
  return std::chrono::nanoseconds(static_cast<int64_t>(total));
}

std::string format_duration(std::chrono::nanoseconds duration) {
  auto left = static_cast<uint64_t>(duration.count());
  std::string out;
  for (const Unit& unit : kDurations) {
    if (left < unit.factor) continue;
    out += std::to_string(left / unit.factor);
    out += unit.name;
    left %= unit.factor;
  }
  return out.empty() ? "0s" : out;
}

Result<uint64_t> parse_size(std::string_view text) {
  if (text == "0") return 0;
  std::string_view rest = text;
  const auto value = take(rest, kSizes);
  if (!value || !rest.empty()) {
    return fail(Code::InvalidArgument,
                "'" + std::string(text) + "' is not a size; write for example \"64KiB\", \"1MiB\" or \"20GB\"");
  }
  return *value;
}

std::string format_size(uint64_t bytes) {
  if (bytes == 0) return "0";
  for (const Unit& unit : kSizes) {
    if (bytes % unit.factor == 0) return std::to_string(bytes / unit.factor) + std::string(unit.name);
  }
  return std::to_string(bytes) + "B";
}

std::string human_size(uint64_t bytes) {
  for (const Unit& unit : kSizes) {
    if (unit.factor == 1 || bytes < unit.factor) continue;
    char out[32];
    std::snprintf(out, sizeof out, "%.1f %s", static_cast<double>(bytes) / static_cast<double>(unit.factor),
                  std::string(unit.name).c_str());
    return out;
  }
  return std::to_string(bytes) + " B";
}

}  // namespace tapdeck

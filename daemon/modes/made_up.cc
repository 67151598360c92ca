#include "daemon/modes/made_up.h"

#include <algorithm>

namespace tapdeck::modes {
namespace {

constexpr size_t kDigitsOfATime = 10;  // seconds since 1970
constexpr size_t kShortestId = 16;
// Names with a version or a date in them change less often; a digest in hex does at every second character, base64 at
// every fourth.
constexpr size_t kFewestTurns = 4;
constexpr size_t kCharactersATurn = 8;

bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}
bool is_latin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// What has come of a run.
struct Run {
  size_t size = 0, digits = 0, turns = 0;
  char last = '\0';  // of letters and digits

  void add(char c) {
    ++size;
    if (!is_decimal(c) && !is_latin(c)) return;
    digits += is_decimal(c) ? 1 : 0;
    turns += last != '\0' && is_decimal(last) != is_decimal(c) ? 1 : 0;
    last = c;
  }
  [[nodiscard]] bool is_made_up() const {
    if (digits == size) return size >= kDigitsOfATime;
    return size >= kShortestId && turns >= std::max(kFewestTurns, size / kCharactersATurn);
  }
};

}  // namespace

bool holds_made_up(std::string_view text) {
  Run run;
  for (const char c : text) {
    if (is_decimal(c) || is_latin(c) || c == '-' || c == '_') {
      run.add(c);
      continue;
    }
    if (run.is_made_up()) return true;
    run = {};
  }
  return run.is_made_up();
}

}  // namespace tapdeck::modes

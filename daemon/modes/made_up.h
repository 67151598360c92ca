// Which part of a URL looks made up by a program, such as a random id, a digest or a time. For hints alone: it guesses.
// Pure. Thread: any.
#pragma once

#include <string_view>

namespace tapdeck::modes {

// Some run of letters, digits, '-' and '_' in it does: ten digits or more, or sixteen characters or more in which
// letters and digits take turns.
[[nodiscard]] bool holds_made_up(std::string_view text);

}  // namespace tapdeck::modes

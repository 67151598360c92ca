// Text from elsewhere (recorded bytes, names in a file, what a container runtime says) for a terminal: control
// characters and marks of direction are shown as escapes, so that it can neither drive the terminal nor look like
// something else. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck::app {

// One line: a newline is an escape, too.
[[nodiscard]] std::string printable(std::string_view text);
// What may be several.
[[nodiscard]] std::string printable_lines(std::string_view text);

}  // namespace tapdeck::app

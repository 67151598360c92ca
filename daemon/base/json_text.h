// Appends JSON strings to a text. For writers that print one flat object (log lines, error bodies) and must not pull
// in a JSON library. Not a parser. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck {

// `"text"` with quotes; control characters escaped, bytes that are not UTF-8 replaced by U+FFFD (RFC 8259 section 8.1).
void append_json_string(std::string& out, std::string_view text);

}  // namespace tapdeck

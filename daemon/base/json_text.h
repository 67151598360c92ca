// Appends JSON strings, or text that a terminal may be given, to a text. For writers that print one flat object (log
// lines, error bodies) and must not pull in a JSON library. Not a parser. Thread: any.
//
// Control characters are those that terminals obey: U+0000 to U+001F, U+007F and U+0080 to U+009F.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck {

// `"text"` with quotes; control characters escaped, bytes that are not UTF-8 replaced by U+FFFD (RFC 8259 section 8.1).
void append_json_string(std::string& out, std::string_view text);
// The same without quotes, and with quotes and backslashes as they are: for people, not to be read back.
void append_printable(std::string& out, std::string_view text);
// Escapes the control characters that JSON lets stand in its strings (U+007F to U+009F) in a whole JSON text.
void escape_controls(std::string& json);

}  // namespace tapdeck

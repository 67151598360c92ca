// The byte grammar of HTTP/1 (RFC 9110 section 5.5-5.6, RFC 9112 section 2-5): one table, used by the guard on what
// comes in and by the writer on what goes out, so that both sides agree on what may be on the wire.
//
// Pure functions. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tapdeck::http {

enum : uint8_t {
  kTokenByte = 1,   // tchar
  kValueByte = 2,   // field-vchar, SP, HTAB; obs-text is allowed, every other control byte is not
  kTargetByte = 4,  // visible ASCII: no space, no control, no byte above 0x7e
  kHostByte = 8,    // reg-name, IP-literal and port, without ','
  kHexByte = 16,
  kDigitByte = 32,
};
extern const std::array<uint8_t, 256> kByteClass;

[[nodiscard]] inline bool all_bytes(std::string_view text, uint8_t bit) {
  uint8_t seen = bit;
  for (const char c : text) seen = static_cast<uint8_t>(seen & kByteClass[static_cast<uint8_t>(c)]);
  return seen != 0;
}
// All bytes are kValueByte, said so that a compiler looks at 16 of them at a time: values are most of every head, and
// are looked at on their way in and on their way out.
[[nodiscard]] inline bool is_field_value(std::string_view text) {
  uint8_t bad = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    bad = static_cast<uint8_t>(bad | ((byte < 0x20) & (byte != '\t')) | (byte == 0x7f));
  }
  return bad == 0;
}
[[nodiscard]] inline bool is_token(std::string_view text) {
  return !text.empty() && all_bytes(text, kTokenByte);
}

// Digits only, at most 2^63-1 so that no later arithmetic can overflow. "+3", "3,3", "" and " 3" are nullopt.
[[nodiscard]] std::optional<uint64_t> parse_length(std::string_view text);
// 1 to 16 hex digits and at most 2^63-1; no sign, no "0x", no blank.
[[nodiscard]] std::optional<uint64_t> parse_chunk_size(std::string_view text);
// Host or authority: non-empty host, optional ":" and decimal port up to 65535. No userinfo.
[[nodiscard]] bool is_authority(std::string_view text);
// The same with a port that must be there (CONNECT).
[[nodiscard]] bool is_authority_with_port(std::string_view text);
// Chunk extensions with their leading ';': tokens, or tokens with a token or quoted string as value, without blanks
// around (RFC 9112 7.1.1 less its "bad whitespace"). Empty is fine.
[[nodiscard]] bool is_chunk_extension(std::string_view text);
// Methods that the llhttp of Debian 12 takes for HTTP/1.x.
[[nodiscard]] bool is_known_method(std::string_view method);
// One of them begins so, or is it.
[[nodiscard]] bool begins_known_method(std::string_view bytes);

}  // namespace tapdeck::http

#include "daemon/server/sniff.h"

#include <utility>

namespace tapdeck::server {

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Longer than any registered method (UPDATEREDIRECTREF has 17).
constexpr size_t kMaxMethod = 24;

bool is_method_byte(char byte) {
  return (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '_';
}

Protocol sniff_clear(std::string_view bytes) {
  // Empty lines before a request are tolerated (RFC 9112 2.2).
  while (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  if (bytes.empty() || bytes == "\r") return Protocol::NeedMore;
  if (bytes.starts_with(kPreface)) return Protocol::Http2;
  if (kPreface.starts_with(bytes)) return Protocol::NeedMore;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == ' ') {
      // A token and a space, then a target: origin-form, absolute-form, authority-form or '*'.
      if (i == 0) return Protocol::Opaque;
      if (i + 1 == bytes.size()) return Protocol::NeedMore;
      const auto next = static_cast<unsigned char>(bytes[i + 1]);
      return next > 0x20 && next < 0x7f ? Protocol::Http1 : Protocol::Opaque;
    }
    if (!is_method_byte(bytes[i]) || i >= kMaxMethod) return Protocol::Opaque;
  }
  return Protocol::NeedMore;
}

}  // namespace

Sniffed sniff(std::string_view bytes) {
  Sniffed result;
  if (bytes.empty()) return result;
  tls::Peek peek = tls::peek_client_hello(bytes);
  switch (peek.verdict) {
    case tls::Peek::Verdict::NeedMore:
      return result;
    case tls::Peek::Verdict::Hello:
      result.protocol = Protocol::Tls;
      result.hello = std::move(peek.hello);
      return result;
    case tls::Peek::Verdict::Malformed:
      result.protocol = Protocol::Opaque;
      return result;
    case tls::Peek::Verdict::NotTls:
      result.protocol = sniff_clear(bytes);
      return result;
  }
  return result;
}

}  // namespace tapdeck::server

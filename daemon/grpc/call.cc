#include "daemon/grpc/call.h"

#include <algorithm>
#include <charconv>

namespace tapdeck::grpc {
namespace {

template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr std::string_view kHex = "0123456789ABCDEF";

int hex_value(char c) {
  if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 'a' + 'A');
  const size_t at = kHex.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

bool is_grpc_content_type(std::string_view content_type) {
  constexpr std::string_view kType = "application/grpc";
  content_type = http::trim_ows(content_type);
  if (!http::iequals(content_type.substr(0, kType.size()), kType)) return false;
  const std::string_view rest = content_type.substr(kType.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

bool is_call(const http::RequestHead& head) {
  if (head.method != "POST") return false;
  const auto type = head.headers.find("content-type");
  return type && is_grpc_content_type(*type);
}

std::string_view message_encoding(const http::Headers& headers) {
  const auto encoding = headers.find("grpc-encoding");
  return encoding ? http::trim_ows(*encoding) : std::string_view("identity");
}

std::optional<std::chrono::nanoseconds> parse_timeout(std::string_view text) {
  using namespace std::chrono;
  text = http::trim_ows(text);
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  const auto amount = number<uint32_t>(text.substr(0, text.size() - 1));
  if (!amount) return std::nullopt;
  switch (text.back()) {
    case 'H':
      // 99,999,999 hours do not fit into nanoseconds; nobody waits for the year 2300 either.
      return hours(std::min<uint32_t>(*amount, 2'000'000));
    case 'M':
      return minutes(*amount);
    case 'S':
      return seconds(*amount);
    case 'm':
      return milliseconds(*amount);
    case 'u':
      return microseconds(*amount);
    case 'n':
      return nanoseconds(*amount);
    default:
      return std::nullopt;
  }
}

std::optional<std::chrono::nanoseconds> timeout_of(const http::Headers& headers) {
  const auto text = headers.find("grpc-timeout");
  return text ? parse_timeout(*text) : std::nullopt;
}

bool has_reached_deadline(const http::Headers& headers, std::chrono::nanoseconds gone) {
  constexpr std::chrono::nanoseconds kApart = std::chrono::milliseconds(10);
  const auto timeout = timeout_of(headers);
  return timeout && gone >= *timeout - std::min(*timeout / 10, kApart);
}

std::optional<uint32_t> status_of(const http::Headers& fields) {
  const auto text = fields.find("grpc-status");
  return text ? number<uint32_t>(http::trim_ows(*text)) : std::nullopt;
}

std::string encode_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::string decode_message(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];  // a stray '%' is kept: "must not be an error"
      continue;
    }
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

}  // namespace tapdeck::grpc

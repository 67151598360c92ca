#include "daemon/admin/message.h"

#include <algorithm>

namespace tapdeck::admin {
namespace {

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus { Keep, Space };

std::optional<std::string> decode(std::string_view text, Plus plus) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus == Plus::Space) c = ' ';
    if (c == '%') {
      if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return std::nullopt;
      c = static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    out += c;
  }
  return out;
}

}  // namespace

bool parse_target(std::string_view target, Request& into) {
  if (target.empty() || target.front() != '/') return false;
  const size_t mark = target.find('?');
  if (!decode(target.substr(0, mark), Plus::Keep)) return false;
  into.path = target.substr(0, mark);
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const size_t equals = pair.find('=');
    const auto name = decode(pair.substr(0, equals), Plus::Space);
    const auto value =
        decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), Plus::Space);
    if (!name || !value) return false;
    if (!name->empty() && !into.query.emplace(*name, *value).second) into.repeated = *name;
  }
  return true;
}

std::optional<std::string> decode_segment(std::string_view text) {
  return decode(text, Plus::Keep);
}

std::string encode_segment(std::string_view text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

}  // namespace tapdeck::admin

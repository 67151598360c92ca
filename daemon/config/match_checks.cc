// Names and conditions that are compared with what passes by. One that can never be equal to it does nothing, in
// silence: what was to be left alone is recorded, what was to be hidden is stored. So these are refused, with what to
// write instead; those that seldom can be equal are doubted.
#include <net/if.h>

#include <algorithm>

#include "daemon/base/ascii.h"
#include "daemon/base/endpoint.h"
#include "daemon/config/schema.h"

namespace tapdeck::config {
namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kSpace = " \t\r\n\v\f";

bool is_visible_ascii(char c) {
  return c > 0x20 && c < 0x7f;
}

// As TOML has it.
std::string literal(std::string_view text) {
  return '"' + std::string(text) + '"';
}

// "2001:db8::1", "fd00:*"; not "a.test:80" or "*:80", where somebody thinks of a port.
bool is_ipv6_glob(std::string_view text) {
  if (text.find_first_not_of("0123456789abcdefABCDEF:.*") != std::string_view::npos) return false;
  const auto colons = std::ranges::count(text, ':');
  return colons > 1 || (colons == 1 && text.find('*') != std::string_view::npos && text.find('*') > text.find(':'));
}

// The keys that say what somebody meant who wrote a URL, or a host with its port.
std::string as_conditions(std::string_view url) {
  std::string out = "host = ";
  std::string scheme, path;
  if (const size_t end = url.find("://"); end != std::string_view::npos) {
    scheme = lowered(url.substr(0, end));
    url.remove_prefix(end + 3);
  }
  if (const size_t slash = url.find_first_of("/?#"); slash != std::string_view::npos) {
    path = url.substr(slash, url.find_first_of("?#") - slash);
    url = url.substr(0, slash);
  }
  url.remove_prefix(url.rfind('@') + 1);  // npos + 1 is 0: all of it
  const bool brackets = url.starts_with('[');
  const size_t end = brackets ? url.find(']') : url.rfind(':');
  const std::string_view port = end == std::string_view::npos ? "" : url.substr(end + 1);
  out += literal(url.substr(brackets ? 1 : 0, end == std::string_view::npos ? end : end - (brackets ? 1 : 0)));
  const std::string_view digits = port.substr(port.starts_with(':') ? 1 : 0);
  if (!digits.empty() && digits.find_first_not_of(kDigits) == std::string_view::npos)
    out += ", port = " + std::string(digits);
  if (scheme == "http" || scheme == "https") out += ", scheme = " + literal(scheme);
  if (path.size() > 1) out += ", path = " + literal(path);
  return out;
}

std::string percent_code(char c) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  return {'%', kHex[byte >> 4], kHex[byte & 15]};
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) out += is_visible_ascii(c) ? std::string(1, c) : percent_code(c);
  return out;
}

bool is_escape(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  return text.size() > 2 && text[0] == '%' && kHex.contains(text[1]) && kHex.contains(text[2]);
}

std::string found_if_encoded(char sign, const char* where) {
  return std::string("has a '") + sign + "' in it, " + where + ": it is found only where that is encoded in the URL, " +
         percent_code(sign);
}

}  // namespace

std::optional<std::string> check_host_glob(std::string_view text) {
  if (text.empty()) return "must not be empty; left out it is any host";
  if (text.size() > 253) return "is longer than 253 bytes, as no host name is";
  if (!std::ranges::all_of(text, is_visible_ascii)) {
    const bool space = text.find_first_of(kSpace) != std::string_view::npos;
    return space ? "has white space in it, which no host name has"
                 : "must be in the ASCII form of clients, \"xn--...\"";
  }
  if (text.find_first_of("/?#[]@") != std::string_view::npos || (text.contains(':') && !is_ipv6_glob(text)))
    return "is compared with a host name alone and would never match; write " + as_conditions(text);
  if (text.contains(':')) {
    if (text.contains('*')) return std::nullopt;
    const auto address = Endpoint::parse(text);
    if (!address) return "is neither a host name nor an address";
    if (address->ip() != lowered(text)) return "is an address that clients write so: " + literal(address->ip());
    return std::nullopt;
  }
  constexpr std::string_view kNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*";
  if (text.find_first_not_of(kNames) != std::string_view::npos) return "is not a host name with optional '*'";
  if (text.starts_with('.')) return "begins with '.', as no host name does; write " + literal("*" + std::string(text));
  if (text.contains("..")) return "has '..' in it, as no host name has";
  return std::nullopt;
}

std::optional<std::string> check_path(std::string_view text) {
  if (!text.starts_with('/')) return "must begin with '/'";
  const size_t mark = text.find_first_of("?#");
  if (mark != std::string_view::npos) {
    return std::string(text[mark] == '?' ? "has a query" : "has a fragment") +
           ", which is no part of a path, and would never match; write " + literal(text.substr(0, mark));
  }
  if (!std::ranges::all_of(text, is_visible_ascii))
    return "must be percent-encoded, as clients send it; write " + literal(percent_encoded(text));
  return check_any(text);
}

std::optional<std::string> check_method(std::string_view text) {
  if (text.empty()) return "must not be empty; left out it is any method";
  std::string capitals(text);
  for (char& c : capitals) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  if (check_token(text)) return "is not a method, for example \"GET\"; one route has one method";
  if (capitals != text) return "would never match: methods are case-sensitive; write " + literal(capitals);
  return std::nullopt;
}

std::optional<std::string> check_unit(std::string_view text) {
  if (text.find_first_of("*?[") != std::string_view::npos) return "is a pattern; a target is one unit";
  return check_any(text);
}

std::optional<std::string> check_interface(std::string_view text) {
  constexpr size_t kLongest = IFNAMSIZ - 1;
  if (text.size() > kLongest) {
    return "is " + std::to_string(text.size()) + " bytes long and would never match: names of interfaces have " +
           std::to_string(kLongest) + " at most";
  }
  if (text.contains('/') || text.find_first_of(kSpace) != std::string_view::npos)
    return "has white space or '/' in it, as no interface's name has";
  return check_any(text);
}

std::optional<std::string> check_parameter(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "must not be empty";
  const std::string_view name = text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
  if (name.size() != text.size())
    return "has white space around it, which names are read without; write " + literal(name);
  if (text == "*") return "has a '*' in it, but there are no patterns here; name each parameter";
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::ranges::any_of(text, is_control)) return "has a control byte in it, which no name has";
  return check_any(text);
}

std::optional<std::string> doubt_of_container(std::string_view text) {
  constexpr std::string_view kNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  if (text.find_first_not_of(kNames) == std::string_view::npos) return std::nullopt;
  return "no container is called " + literal(text) + ": their names have letters, digits and . - _ only";
}

std::optional<std::string> doubt_of_parameter(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '*') return "has a '*' in it, which stands for itself: there are no patterns here";
    if (c == '&' || c == '=') return found_if_encoded(c, "where a name ends");
    if (c == ';' || c == '#' || c == '?' || c == '/' || c == '!')
      return found_if_encoded(c, "behind which a name begins");
    if (c == '+') return found_if_encoded(c, "which is a space in a query");
    if (is_escape(text.substr(i)))
      return "has " + literal(text.substr(i, 3)) + " in it, but is compared with decoded names; write the character";
  }
  return std::nullopt;
}

}  // namespace tapdeck::config

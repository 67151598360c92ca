#include "daemon/config/bypass.h"

#include <algorithm>
#include <charconv>

#include "daemon/base/glob.h"

namespace tapdeck::config {
namespace {

template <class T>
std::optional<T> number(std::string_view text, T max) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

bool is_host_glob(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*") ==
         std::string_view::npos;
}

bool same_prefix(const Endpoint& a, const Endpoint& b, unsigned bits) {
  for (unsigned bit = 0; bit < bits; ++bit) {
    const unsigned mask = 0x80u >> (bit % 8);
    if (((a.address[bit / 8] ^ b.address[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

std::string_view without_brackets(std::string_view text) {
  const bool has = text.size() > 2 && text.front() == '[' && text.back() == ']';
  return has ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

Result<BypassRule> BypassRule::parse(std::string_view text) {
  BypassRule rule;
  const auto bad = [&](const char* why) {
    return fail(Code::InvalidArgument, "bypass rule '" + std::string(text) + "': " + why);
  };
  std::string_view rest = text;
  // A port follows the last colon; a bare IPv6 address has several colons and needs brackets to have one.
  const size_t bracket = rest.find(']');
  const size_t colon = rest.rfind(':');
  const bool bare_v6 = bracket == std::string_view::npos && rest.find(':') != colon;
  if (colon != std::string_view::npos && !bare_v6 && (bracket == std::string_view::npos || colon > bracket)) {
    const auto port = number<uint16_t>(rest.substr(colon + 1), 65535);
    if (!port || *port == 0) return bad("the part after ':' is not a port (1..65535)");
    rule.port_ = *port;
    rest = rest.substr(0, colon);
  }
  rest = without_brackets(rest);  // of "[2001:db8::/32]:443"
  std::optional<unsigned> bits;
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    bits = number<unsigned>(rest.substr(slash + 1), 128);
    if (!bits && bare_v6) return bad("the part after '/' is not a prefix length; with a port: [2001:db8::/32]:443");
    if (!bits) return bad("the part after '/' is not a prefix length");
    rest = without_brackets(rest.substr(0, slash));  // of "[2001:db8::]/32:443"
  }
  if (const auto address = Endpoint::parse(rest)) {
    const unsigned longest = address->family == Endpoint::Family::V4 ? 32 : 128;
    if (bits && *bits > longest) return bad("the prefix is longer than the address");
    rule.network_ = address;
    rule.prefix_bits_ = bits.value_or(longest);
    return rule;
  }
  if (bits) return bad("a prefix length needs an IP address before it");
  if (!is_host_glob(rest)) return bad("neither a host name with optional '*', nor an IP address, nor a CIDR");
  rule.host_ = rest;
  return rule;
}

bool BypassRule::matches(std::string_view host, const Endpoint& destination) const {
  if (port_ != 0 && destination.port != port_) return false;
  if (!network_) return !host.empty() && glob_match(host_, host);
  return destination.family == network_->family && same_prefix(destination, *network_, prefix_bits_);
}

bool BypassRule::matches_name(std::string_view host) const {
  return !network_ && !host.empty() && glob_match(host_, host);
}

BypassRules::BypassRules(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (auto rule = BypassRule::parse(text)) rules_.push_back(std::move(*rule));
  }
}

bool BypassRules::match(std::string_view host, const Endpoint& destination) const {
  return std::ranges::any_of(rules_, [&](const BypassRule& rule) { return rule.matches(host, destination); });
}

bool BypassRules::match_name(std::string_view host) const {
  return std::ranges::any_of(rules_, [&](const BypassRule& rule) { return rule.matches_name(host); });
}

}  // namespace tapdeck::config

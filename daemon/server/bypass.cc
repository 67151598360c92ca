#include "daemon/server/bypass.h"

#include <charconv>

#include "daemon/modes/select.h"

namespace tapdeck::server {

namespace {

template <class Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool in_network(const Endpoint& network, unsigned prefix, const Endpoint& address) {
  if (network.family != address.family || prefix > (network.family == Endpoint::Family::V4 ? 32U : 128U)) return false;
  for (unsigned bit = 0; bit < prefix; ++bit) {
    const auto mask = static_cast<uint8_t>(0x80U >> (bit % 8));
    if ((network.address[bit / 8] & mask) != (address.address[bit / 8] & mask)) return false;
  }
  return true;
}

}  // namespace

bool bypass_matches(std::string_view rule, std::string_view host, const Endpoint& destination) {
  // "[v6]/64:443", "10.0.0.0/8:443", "2001:db8::/32", "*.example.com:8443"
  std::string_view name = rule;
  uint16_t port = 0;
  const bool bare_v6 = !rule.starts_with('[') && rule.find(':') != rule.rfind(':');
  if (const size_t colon = rule.rfind(':');
      !bare_v6 && colon != std::string_view::npos && rule.find(']', colon) == std::string_view::npos) {
    if (!parse_number(rule.substr(colon + 1), port)) return false;
    name = rule.substr(0, colon);
  }
  if (port != 0 && port != destination.port) return false;
  std::string address(name);
  unsigned prefix = 128;
  bool has_prefix = false;
  if (const size_t slash = address.find('/'); slash != std::string::npos) {
    if (!parse_number(std::string_view(address).substr(slash + 1), prefix)) return false;
    has_prefix = true;
    address.resize(slash);
  }
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  if (const auto network = Endpoint::parse(address)) {
    if (!has_prefix) prefix = network->family == Endpoint::Family::V4 ? 32 : 128;
    return in_network(*network, prefix, destination);
  }
  return !has_prefix && !host.empty() && modes::glob_matches(name, host);
}

bool any_bypass_matches(const std::vector<std::string>& rules, std::string_view host, const Endpoint& destination) {
  for (const std::string& rule : rules) {
    if (bypass_matches(rule, host, destination)) return true;
  }
  return false;
}

}  // namespace tapdeck::server

// Bypass rules: which hosts and addresses are left alone: tunnelled without being decrypted and, where what passes is
// HTTP in clear, forwarded without being recorded. Parsing and matching; who asks, and what happens then, is not here.
// Plain values. Thread: any.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"

namespace tapdeck::config {

class BypassRule {
 public:
  // "api.example.com", "*.internal", "10.0.0.0/8", "192.0.2.7:443", "[2001:db8::/32]:443", "[2001:db8::]/32:443",
  // "*.x.org:8443".
  // InvalidArgument says what is wrong with it.
  [[nodiscard]] static Result<BypassRule> parse(std::string_view text);

  // `host` is the SNI or authority without port, empty when unknown; `destination` the original destination.
  [[nodiscard]] bool matches(std::string_view host, const Endpoint& destination) const;
  // It is about names, and this is one of them, whatever the port.
  [[nodiscard]] bool matches_name(std::string_view host) const;
  // True when `matches` needs no host name: it can be decided before the first byte.
  [[nodiscard]] bool is_address() const { return network_.has_value(); }
  [[nodiscard]] uint16_t port() const { return port_; }  // 0: any

 private:
  std::string host_;                 // glob; empty when network_ is set
  std::optional<Endpoint> network_;  // address part; port unused
  unsigned prefix_bits_ = 0;
  uint16_t port_ = 0;  // 0: any
};

// The rules of a target, or of all: parsed once, asked for each connection.
class BypassRules {
 public:
  BypassRules() = default;
  // A malformed rule matches nothing (config has refused it).
  explicit BypassRules(const std::vector<std::string>& texts);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  // One of them does; as BypassRule::matches.
  [[nodiscard]] bool match(std::string_view host, const Endpoint& destination) const;
  [[nodiscard]] bool match_name(std::string_view host) const;  // as BypassRule::matches_name
  // One is an address or a network: of a destination that is a name it says something only when that was looked up.
  [[nodiscard]] bool has_addresses() const { return std::ranges::any_of(rules_, &BypassRule::is_address); }

 private:
  std::vector<BypassRule> rules_;
};

}  // namespace tapdeck::config

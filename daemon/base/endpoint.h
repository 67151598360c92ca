// Endpoint: an IP address and TCP port as a plain value, the form in which kernel, store and logs exchange addresses.
// Not a socket address of any library. IPv4 is kept as IPv4 (v4-mapped IPv6 is unmapped by from_sockaddr).
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tapdeck {

struct Endpoint {
  enum class Family : uint8_t { None = 0, V4 = 4, V6 = 6 };
  Family family = Family::None;
  uint16_t port = 0;                  // host byte order
  uint32_t scope_id = 0;              // interface index of a link-local IPv6 address, else 0
  std::array<uint8_t, 16> address{};  // network byte order; IPv4 uses the first four bytes

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;

  // "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%3]:443"; "-" when family is None.
  [[nodiscard]] std::string to_string() const;
  // "192.0.2.1" or "2001:db8::1", without port and brackets.
  [[nodiscard]] std::string ip() const;
  [[nodiscard]] bool is_loopback() const;
  // 0.0.0.0 or [::]; also when family is None.
  [[nodiscard]] bool is_unspecified() const;

  [[nodiscard]] static Endpoint from_sockaddr(const sockaddr* address);
  // Fills `out`, returns its length; 0 for Family::None.
  [[nodiscard]] socklen_t to_sockaddr(sockaddr_storage& out) const;
  // Accepts what to_string() prints, and a bare IP with `default_port`.
  [[nodiscard]] static std::optional<Endpoint> parse(std::string_view text, uint16_t default_port = 0);
};

}  // namespace tapdeck

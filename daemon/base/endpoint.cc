#include "daemon/base/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace tapdeck {

std::string Endpoint::ip() const {
  char text[INET6_ADDRSTRLEN] = "-";
  if (family == Family::V4) inet_ntop(AF_INET, address.data(), text, sizeof text);
  if (family == Family::V6) inet_ntop(AF_INET6, address.data(), text, sizeof text);
  return text;
}

std::string Endpoint::to_string() const {
  if (family == Family::None) return "-";
  if (family == Family::V4) return ip() + ":" + std::to_string(port);
  const std::string scope = scope_id == 0 ? "" : "%" + std::to_string(scope_id);
  return "[" + ip() + scope + "]:" + std::to_string(port);
}

bool Endpoint::is_loopback() const {
  if (family == Family::V4) return address[0] == 127;
  static constexpr std::array<uint8_t, 16> kLoopback6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return family == Family::V6 && address == kLoopback6;
}

bool Endpoint::is_unspecified() const {
  return address == std::array<uint8_t, 16>{};
}

Endpoint Endpoint::from_sockaddr(const sockaddr* raw) {
  Endpoint endpoint;
  if (raw->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, raw, sizeof v4);
    endpoint.family = Family::V4;
    endpoint.port = ntohs(v4.sin_port);
    std::memcpy(endpoint.address.data(), &v4.sin_addr, 4);
  } else if (raw->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, raw, sizeof v6);
    endpoint.port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      endpoint.family = Family::V4;
      std::memcpy(endpoint.address.data(), v6.sin6_addr.s6_addr + 12, 4);
    } else {
      endpoint.family = Family::V6;
      endpoint.scope_id = v6.sin6_scope_id;
      std::memcpy(endpoint.address.data(), &v6.sin6_addr, 16);
    }
  }
  return endpoint;
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (family == Family::V4) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.data(), 4);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
  }
  if (family == Family::V6) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_scope_id = scope_id;
    std::memcpy(&v6.sin6_addr, address.data(), 16);
    std::memcpy(&out, &v6, sizeof v6);
    return sizeof v6;
  }
  return 0;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text, uint16_t default_port) {
  Endpoint endpoint;
  endpoint.port = default_port;
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) return std::nullopt;
    if (!rest.empty()) port = rest.substr(1);
    if (!rest.empty() && port.empty()) return std::nullopt;
  } else if (const size_t colon = text.find(':'); colon != std::string_view::npos && text.rfind(':') == colon) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return std::nullopt;
  }
  const auto number = [](std::string_view digits, auto& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  if (!port.empty() && !number(port, endpoint.port)) return std::nullopt;
  if (const size_t percent = host.find('%'); percent != std::string_view::npos) {
    if (!number(host.substr(percent + 1), endpoint.scope_id)) return std::nullopt;
    host = host.substr(0, percent);
  }
  const std::string name(host);
  if (inet_pton(AF_INET, name.c_str(), endpoint.address.data()) == 1) {
    endpoint.family = Family::V4;
    return endpoint;
  }
  if (inet_pton(AF_INET6, name.c_str(), endpoint.address.data()) == 1) {
    endpoint.family = Family::V6;
    return endpoint;
  }
  return std::nullopt;
}

}  // namespace tapdeck

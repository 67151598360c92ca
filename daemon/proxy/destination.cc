#include "daemon/proxy/destination.h"

#include <charconv>
#include <utility>

#include "daemon/base/ascii.h"

namespace tapdeck::proxy {

namespace {

std::unexpected<Error> bad(std::string_view authority, std::string_view what) {
  return fail(Code::Protocol, "'" + std::string(authority) + "' " + std::string(what), Origin::Downstream);
}

}  // namespace

Result<Destination> Destination::parse(std::string_view authority, uint16_t default_port) {
  Destination out;
  std::string_view host = authority;
  out.port = default_port;
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  if (has_port && colon + 1 < authority.size()) {
    const std::string_view digits = authority.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (error != std::errc() || end != digits.data() + digits.size()) return bad(authority, "has no valid port");
  }
  if (has_port) host = authority.substr(0, colon);
  if (out.port == 0) return bad(authority, "names no port to go to");
  const bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets) host = host.substr(1, host.size() - 2);
  if (!brackets && host.find_first_of("[]:") != std::string_view::npos) return bad(authority, "is no host and port");
  out.host += lowered(host);
  if (out.host.ends_with('.')) out.host.pop_back();  // the root of names; certificates and routes do without
  if (out.host.empty() || out.host.size() > 253) return bad(authority, "names no host");
  out.endpoint.port = out.port;
  if (const auto address = Endpoint::parse(out.host); address && address->port == 0) {
    sockaddr_storage raw{};
    ignore(address->to_sockaddr(raw), "the length; reading it back unmaps v4-mapped addresses");
    out.endpoint = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
    out.endpoint.port = out.port;
    out.endpoint.scope_id = address->scope_id;
    out.host = out.endpoint.ip();
  } else if (brackets) {
    return bad(authority, "is no IPv6 address");
  }
  return out;
}

void Destination::apply(exchange::CapturedFlow& flow, exchange::UpstreamRoute route) const {
  flow.destination = endpoint;
  route.host = host;
  route.port = port;
  flow.route = std::make_shared<const exchange::UpstreamRoute>(std::move(route));
}

}  // namespace tapdeck::proxy

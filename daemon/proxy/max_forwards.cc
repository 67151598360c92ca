#include "daemon/proxy/max_forwards.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace tapdeck::proxy {

namespace {

constexpr std::array<std::string_view, 3> kCredentials = {"authorization", "proxy-authorization", "cookie"};

std::string as_text(const http::RequestHead& request) {
  std::string out = request.method + ' ' + request.target + ' ';
  out += http::to_string(request.version);
  out += "\r\n";
  if (request.version == http::Version::Http2) out += "Host: " + request.authority + "\r\n";
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const auto [name, value] = request.headers[i];
    const auto is_name = [name](std::string_view one) { return http::iequals(name, one); };
    if (std::ranges::any_of(kCredentials, is_name)) continue;
    out += std::string(name) + ": " + std::string(value) + "\r\n";
  }
  return out + "\r\n";
}

}  // namespace

std::optional<uint64_t> forwards_left(const http::RequestHead& request) {
  if (request.method != "OPTIONS" && request.method != "TRACE") return std::nullopt;
  const std::string_view digits = request.headers.find("max-forwards").value_or("");
  uint64_t left = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), left);
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size()) return std::nullopt;
  return error == std::errc::result_out_of_range ? UINT64_MAX : left;
}

OwnAnswer answer_as_recipient(const http::RequestHead& request) {
  OwnAnswer out;
  out.head.status = 200;
  out.head.reason = http::reason_phrase(200);
  if (request.method == "TRACE") {
    out.body = as_text(request);
    out.head.headers.add("Content-Type", "message/http");
  }
  out.head.headers.add("Content-Length", std::to_string(out.body.size()));
  return out;
}

}  // namespace tapdeck::proxy

// What a text value must look like. One function a kind; each answers the problem in words or nullopt.
#include <sys/un.h>

#include <charconv>

#include "daemon/base/ascii.h"
#include "daemon/base/endpoint.h"
#include "daemon/config/bypass.h"
#include "daemon/config/field_path.h"
#include "daemon/config/json_path.h"
#include "daemon/config/schema.h"
#include "daemon/config/upstream_url.h"

namespace tapdeck::config {
namespace {

// Fields that say where a message ends, where it goes or how its body reads: with a placeholder in one of them nothing
// recorded could be given back.
constexpr std::string_view kFraming =
    " connection content-encoding content-length content-range content-type expect grpc-encoding grpc-status host "
    "http2-settings keep-alive proxy-connection sec-websocket-accept sec-websocket-extensions sec-websocket-key "
    "sec-websocket-version te trailer transfer-encoding upgrade ";

constexpr std::string_view kAlnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool only(std::string_view text, std::string_view extra) {
  for (const char c : text) {
    if (kAlnum.find(c) == std::string_view::npos && extra.find(c) == std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> check_any(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > 4096) return "is longer than 4096 bytes";
  if (text.find('\0') != std::string_view::npos) return "contains a NUL byte";
  return std::nullopt;
}

std::optional<std::string> check_session(std::string_view text) {
  // The same rule as the store's (store/exchange_store.h), which config may not include.
  if (text.empty() || text.size() > 64) return "must have 1 to 64 characters";
  if (!only(text, ".-_")) return "may only have letters, digits and . - _";
  if (text.front() == '.' || text.front() == '-') return "must not begin with '.' or '-'";
  return std::nullopt;
}

std::optional<std::string> check_target_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return "must have 1 to 64 characters";
  if (!only(text, ".-_@:/")) return "may only have letters, digits and . - _ @ : /";
  return std::nullopt;
}

std::string name_of_selector(std::string_view selector) {
  constexpr size_t kLongest = 64;
  std::string name(selector.substr(selector.size() - std::min(selector.size(), kLongest)));
  for (char& c : name) {
    if (check_target_name({&c, 1})) c = '_';
  }
  return name;
}

std::optional<std::string> check_pid(std::string_view text) {
  int pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size() || pid < 1) return "must be a process id";
  return std::nullopt;
}

std::optional<std::string> check_bypass(std::string_view text) {
  const auto rule = BypassRule::parse(text);
  if (!rule) return rule.error().detail;
  return std::nullopt;
}

std::optional<std::string> check_listen(std::string_view text) {
  if (text.empty() || text == "off") return std::nullopt;
  const auto endpoint = Endpoint::parse(text);
  if (!endpoint || text.rfind(':') == std::string_view::npos)
    return "'" + std::string(text) + "' is not IP:port, for example \"127.0.0.1:9909\", nor \"off\"";
  if (!endpoint->is_loopback()) {
    return "'" + std::string(text) +
           "' is not a loopback address; the admin server holds recordings and is not offered to the network "
           "(put an authenticating proxy before it, or scrape over the unix socket)";
  }
  return std::nullopt;
}

std::optional<std::string> check_proxy_listen(std::string_view text) {
  if (text.empty() || text == "off") return std::nullopt;
  const auto endpoint = Endpoint::parse(text);
  if (!endpoint || endpoint->port == 0) return "is not IP:port, for example \"127.0.0.1:8080\", nor \"off\"";
  return std::nullopt;
}

std::optional<std::string> check_network(std::string_view text) {
  const auto rule = BypassRule::parse(text);
  if (!rule || !rule->is_address() || rule->port() != 0) return "is not an IP or CIDR, for example \"10.0.0.0/8\"";
  return std::nullopt;
}

std::optional<std::string> check_server(std::string_view text) {
  if (!Endpoint::parse(text, 53)) return "is not IP or IP:port, for example \"10.0.0.2\" or \"[2001:db8::2]:53\"";
  return std::nullopt;
}

std::optional<std::string> check_upstream(std::string_view text) {
  const auto url = UpstreamUrl::parse(text);
  if (!url) return url.error().detail;
  return std::nullopt;
}

std::optional<std::string> check_host(std::string_view text) {
  if (text.empty() || text.size() > 253 || !only(text, ".-_:[]")) return "is not a host name";
  return std::nullopt;
}

std::optional<std::string> check_token(std::string_view text) {
  if (text.empty() || text.size() > 256 || !only(text, "!#$%&'*+-.^_`|~"))
    return "is not a header name, for example \"X-Api-Key\"";
  return std::nullopt;
}

std::optional<std::string> check_redacted(std::string_view text) {
  if (text.find('*') != std::string_view::npos)
    return "has a '*' in it, but there are no patterns here; name each field";
  if (auto wrong = check_token(text)) return wrong;
  const std::string name = " " + lowered(text) + " ";
  if (kFraming.find(name) == std::string_view::npos) return std::nullopt;
  return "frames or routes messages ('" + std::string(text) + "'); redacted, no recording could be replayed";
}

std::optional<std::string> check_json_path(std::string_view text) {
  const auto path = JsonPath::parse(text);
  if (!path) return path.error().detail;
  return std::nullopt;
}

std::optional<std::string> check_socket(std::string_view text) {
  constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (text.size() <= kLongest) return std::nullopt;
  return "is " + std::to_string(text.size()) + " bytes long; the path of a socket has " + std::to_string(kLongest) +
         " at most, so choose a directory with a shorter one, for example /run/tapdeck";
}

std::optional<std::string> check_constraint(std::string_view text) {
  const auto rule = BypassRule::parse(text);
  const bool fits = rule && rule->port() == 0 && text.find('*') == std::string_view::npos;
  if (!fits) return "is neither a DNS suffix, for example \"example.com\", nor a CIDR";
  return std::nullopt;
}

double pace_factor(std::string_view pace) {
  if (pace == "recorded") return 1;
  double factor = 0;
  const auto [end, error] = std::from_chars(pace.data(), pace.data() + pace.size(), factor);
  const bool is_factor = error == std::errc() && end + 1 == pace.data() + pace.size() && *end == 'x';
  return is_factor && factor >= 0.001 && factor <= 100000 ? factor : 0;
}

std::optional<std::string> check_pace(std::string_view text) {
  if (text == "instant" || pace_factor(text) > 0) return std::nullopt;
  return "must be \"instant\", \"recorded\" or a factor from \"0.001x\" to \"100000x\"";
}

std::optional<std::string> check_field_path(std::string_view text) {
  const auto path = FieldPath::parse(text);
  if (!path) return path.error().detail;
  return std::nullopt;
}

}  // namespace tapdeck::config

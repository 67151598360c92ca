#include "daemon/modes/miss.h"

#include <algorithm>
#include <cctype>

#include "daemon/exchange/error_response.h"

namespace tapdeck::modes {

using exchange::json_string;

namespace {

// A CONNECT for "host:port"; an extended one has a path.
bool is_tunnel(const store::KeyParts& parts) {
  return parts.method == "CONNECT" && !parts.path.starts_with('/');
}

std::string url_of(const store::KeyParts& parts) {
  if (is_tunnel(parts)) return parts.path;
  std::string url = parts.scheme + "://";
  url += parts.host.contains(':') ? '[' + parts.host + ']' : parts.host;
  const bool usual = (parts.scheme == "https" && parts.port == 443) || (parts.scheme == "http" && parts.port == 80);
  if (!usual) url += ':' + std::to_string(parts.port);
  if (parts.path != "*") url += parts.path;  // OPTIONS * is about the server (RFC 9112 3.2.4)
  if (!parts.query.empty()) url += '?' + parts.query;
  return url;
}

std::string hint_of(const Miss& miss) {
  if (is_tunnel(*miss.parts)) {
    return "tunnels through another proxy are passed on and not recorded; record and replay without that proxy "
           "(HTTPS_PROXY), or through tapdeck's own (proxy.listen)";
  }
  if (miss.exhausted) {
    return "every recording of this request was used once; set repeat = \"in-order\" for its route, or rewind the "
           "session with: tapdeck session rewind " +
           std::string(miss.session);
  }
  if (miss.nearest.empty()) {
    return "session '" + std::string(miss.session) + "' has nothing like it; record it with --mode record or hybrid";
  }
  const store::Nearest& nearest = miss.nearest.front();
  const std::string recording = "recording " + std::to_string(nearest.id);
  if (miss.has_placeholder) {
    return "the request carries a placeholder ([redacted:...]), which stands for a value that is not on tape and "
           "matches nothing; send the value itself (" +
           recording + " is nearest)";
  }
  if (nearest.differs.empty()) {
    return recording +
           " looks the same, so it was most likely recorded under another match secret; record it again with --mode "
           "hybrid";
  }
  std::string fields;
  for (const store::Difference& difference : nearest.differs) {
    if (!fields.empty()) fields += ", ";
    fields += difference.where;
  }
  return recording + " differs only in " + fields + "; send the same, or record this request too with --mode hybrid";
}

}  // namespace

bool has_placeholder(const store::KeyParts& asked) {
  const auto holds = [](std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* begin : {"[redacted:", "%5bredacted:", "%5bredacted%3a", "[redacted%3a"}) {
      if (text.contains(begin)) return true;
    }
    return false;
  };
  return holds(asked.query) || holds(asked.path);
}

std::string miss_json(const Miss& miss) {
  std::string json = "{\"error\":\"not_recorded\",\"session\":" + json_string(miss.session) +
                     ",\"route\":" + json_string(miss.route) +
                     ",\"key\":" + json_string(store::to_hex(miss.key->bytes)) +
                     ",\"request\":{\"method\":" + json_string(miss.parts->method) +
                     ",\"url\":" + json_string(url_of(*miss.parts)) + "},\"nearest\":[";
  bool first = true;
  for (const store::Nearest& nearest : miss.nearest) {
    if (!first) json += ',';
    first = false;
    json += "{\"id\":" + json_string(std::to_string(nearest.id)) + ",\"differs\":[";
    bool first_field = true;
    for (const store::Difference& difference : nearest.differs) {
      if (!first_field) json += ',';
      first_field = false;
      json += "{\"where\":" + json_string(difference.where) + ",\"recorded\":" + json_string(difference.recorded) +
              ",\"requested\":" + json_string(difference.requested) + '}';
    }
    json += "]}";
  }
  return json + "],\"hint\":" + json_string(hint_of(miss)) + "}\n";
}

}  // namespace tapdeck::modes

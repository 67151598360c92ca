#include "daemon/modes/miss.h"

#include "daemon/exchange/error_response.h"

namespace tapdeck::modes {

using exchange::json_string;

namespace {

std::string url_of(const store::KeyParts& parts) {
  std::string url = parts.scheme + "://";
  url += parts.host.contains(':') ? '[' + parts.host + ']' : parts.host;
  const bool usual = (parts.scheme == "https" && parts.port == 443) || (parts.scheme == "http" && parts.port == 80);
  if (!usual) url += ':' + std::to_string(parts.port);
  url += parts.path;
  if (!parts.query.empty()) url += '?' + parts.query;
  return url;
}

std::string hint_of(const Miss& miss) {
  if (miss.exhausted) {
    return "every recording of this request was used once; set repeat = \"in-order\" for its route, or rewind the "
           "session with: tapdeck session rewind " +
           std::string(miss.session);
  }
  if (miss.nearest.empty()) {
    return "session '" + std::string(miss.session) + "' has nothing like it; record it with --mode record or hybrid";
  }
  std::string fields;
  for (const store::Difference& difference : miss.nearest.front().differs) {
    if (!fields.empty()) fields += ", ";
    fields += difference.where;
  }
  return "recording " + std::to_string(miss.nearest.front().id) + " differs only in " + fields +
         "; send the same, or record this request too with --mode hybrid";
}

}  // namespace

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
    json += "{\"id\":" + std::to_string(nearest.id) + ",\"differs\":[";
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

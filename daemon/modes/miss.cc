#include "daemon/modes/miss.h"

#include <algorithm>
#include <array>
#include <ranges>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/body_difference.h"
#include "daemon/modes/made_up.h"
#include "daemon/modes/placeholder.h"

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

// How to have it on tape next time.
std::string how_to_record(const Miss& miss) {
  if (miss.rule != nullptr && miss.rule->mode == Mode::Replay) {
    return "with mode = \"hybrid\" in route '" + std::string(miss.route) +
           "' of the configuration: its mode = \"replay\" is in force here, whatever the target's is";
  }
  if (miss.target == config::kRunTarget) return "with --mode hybrid";
  return "with: tapdeck mode set hybrid --target " + std::string(miss.target);
}

std::string exhausted_hint(const Miss& miss) {
  const std::string used = "every recording of this request was used once";
  const std::string repeat = "set repeat = \"in-order\" for its route";
  if (miss.target == config::kRunTarget) {
    return used + ": this run asked more often than was recorded; " + repeat +
           " to have the last answer again, or record it as often";
  }
  return used + "; " + repeat + ", or rewind the session with: tapdeck session rewind " + std::string(miss.session);
}

constexpr std::string_view kBody = "body";
constexpr std::string_view kBodyField = "body field ";  // of a form; other members are of JSON

enum class Names { All, OfBothSides };

// What only one side has may be no name at all, but the text of a body or a key made of a value.
std::string inner_field(const store::Difference& difference, Names names) {
  const bool is_on_one_side = difference.recorded == kAbsentInBody || difference.requested == kAbsentInBody;
  if (names == Names::All || !is_on_one_side) return difference.where.substr(kBody.size());
  return difference.where.starts_with(kBodyField) ? " a field" : " a member";
}

// "body $.a, $.b, $.c, ..."
std::string body_fields(const std::vector<store::Difference>& differs, Names names) {
  constexpr size_t kNamed = 3;
  std::string fields(kBody);
  for (size_t i = 0; i < std::min(kNamed, differs.size()); ++i) {
    fields += i == 0 ? "" : ",";
    fields += inner_field(differs[i], names);
  }
  return differs.size() > kNamed ? fields + ", ..." : fields;
}

// Of the nearest.
std::string fields_of(const Miss& miss, Names names) {
  std::string fields;
  for (const store::Difference& difference : miss.nearest.front().differs) {
    if (!fields.empty()) fields += ", ";
    const bool is_known_body = difference.where == kBody && !miss.bodies.empty();
    fields += is_known_body ? body_fields(miss.bodies.front(), names) : difference.where;
  }
  return fields;
}

// A segment of the path is an id that the recorded path does not have.
bool has_new_id(const store::Difference& difference) {
  if (difference.where != "path") return false;
  return std::ranges::any_of(std::views::split(difference.requested, '/'), [&](const auto part) {
    const std::string_view segment(part.begin(), part.end());
    return holds_made_up(segment) && !difference.recorded.contains(segment);
  });
}

// What no other try makes match.
std::string made_anew(const store::Nearest& nearest) {
  const auto any = [&nearest](auto holds) {
    return std::ranges::any_of(nearest.differs, holds, &store::Difference::where);
  };
  const std::string never = ". A value made anew each time (an id, a time, a multipart boundary) never matches: ";
  if (any([](std::string_view where) { return where.starts_with("grpc message"); })) {
    const bool is_first = any([](std::string_view where) { return where == kFirstGrpcMessage; });
    return never +
           "compare the other fields only (match_fields in [routes.grpc]), or have the client send a fixed one" +
           (is_first ? ". Recordings are found by the rules they were made under: after changing them record again"
                     : "");
  }
  const bool is_in_path = std::ranges::any_of(nearest.differs, has_new_id);
  if (is_in_path || any([](std::string_view where) { return where == "body" || where == "query"; })) {
    return never + "have the client send a fixed one";
  }
  return {};
}

// What comes to a URL that is on tape, and has an id in it: an answer of the tape may have led there.
std::string given_out(const Miss& miss) {
  const auto& differs = miss.nearest.front().differs;
  const auto is_body = [](std::string_view where) { return where == "body"; };
  const bool is_known_url = std::ranges::all_of(differs, is_body, &store::Difference::where);
  if (!is_known_url || !(holds_made_up(miss.parts->path) || holds_made_up(miss.parts->query))) return {};
  return "This URL may have been given out by the tape, to another request of several at the same time: then have the "
         "client send them one after another, for an origin would not know it. ";
}

// Whatever the configuration says (store::RedactOptions).
bool is_always_redacted(std::string_view field) {
  const auto is_it = [field](std::string_view name) { return http::iequals(name, field); };
  return std::ranges::any_of(std::array{"authorization", "proxy-authorization", "cookie", "set-cookie"}, is_it);
}

std::string withheld_hint(std::string_view where) {
  return "the request carries what redaction put in place of a secret ([redacted:...] in " + std::string(where) +
         "), as replay gives it out: no origin takes that, so it was not forwarded. Record the whole flow in one go, "
         "in record mode" +
         (is_always_redacted(where) ? "" : ", or with a [redact] that leaves this field");
}

// Nothing of its origin is on tape, nor can be.
bool is_out_of_reach(const Miss& miss) {
  if (!miss.asks_for_certificates || miss.nearest.empty()) return miss.asks_for_certificates;
  const auto is_place = [](std::string_view where) { return where == "host" || where == "port" || where == "scheme"; };
  return std::ranges::any_of(miss.nearest.front().differs, is_place, &store::Difference::where);
}

std::string hint_of(const Miss& miss) {
  if (!miss.withheld.empty()) return withheld_hint(miss.withheld);
  if (is_tunnel(*miss.parts)) {
    return "tunnels through another proxy are passed on and not recorded; record and replay without that proxy "
           "(HTTPS_PROXY), or through tapdeck's own (proxy.listen)";
  }
  if (miss.exhausted) return exhausted_hint(miss);
  if (is_out_of_reach(miss)) {
    return "this origin asks for client certificates, which only the client has: its connections are passed on as "
           "they are, and cannot be recorded in any mode";
  }
  if (miss.nearest.empty()) {
    return "session '" + std::string(miss.session) + "' has nothing like it; record it " + how_to_record(miss);
  }
  const store::Nearest& nearest = miss.nearest.front();
  const std::string recording = "recording " + std::to_string(nearest.id);
  if (miss.has_placeholder) {
    return "the request carries a placeholder ([redacted:...]), which stands for a value that is not on tape and "
           "matches nothing; send the value itself (" +
           recording + " is nearest)";
  }
  if (nearest.differs.empty()) {
    return recording + " looks the same, so it was most likely recorded under another match secret; record it again " +
           how_to_record(miss);
  }
  const std::string given = given_out(miss);
  return recording + " differs only in " + fields_of(miss, Names::All) +
         (given.empty() ? "; send" : ". " + given + "Else send") + " the same, or record this request too " +
         how_to_record(miss) + made_anew(nearest);
}

}  // namespace

bool has_placeholder(const store::KeyParts& asked) {
  return holds_placeholder(asked.query) || holds_placeholder(asked.path);
}

namespace {

std::string differs_json(std::vector<store::Difference> differs, const std::vector<store::Difference>& in_body) {
  const auto body = std::ranges::find(differs, kBody, &store::Difference::where);
  if (body != differs.end()) differs.insert(body + 1, in_body.begin(), in_body.end());
  std::string json;
  for (const store::Difference& difference : differs) {
    if (!json.empty()) json += ',';
    json += "{\"where\":" + json_string(difference.where) + ",\"recorded\":" + json_string(difference.recorded) +
            ",\"requested\":" + json_string(difference.requested) + '}';
  }
  return json;
}

}  // namespace

std::string miss_json(const Miss& miss) {
  std::string json = "{\"error\":\"not_recorded\",\"session\":" + json_string(miss.session) +
                     ",\"route\":" + json_string(miss.route) +
                     ",\"key\":" + json_string(store::to_hex(miss.key->bytes)) +
                     ",\"request\":{\"method\":" + json_string(miss.parts->method) +
                     ",\"url\":" + json_string(url_of(*miss.parts)) + "},\"nearest\":[";
  static const std::vector<store::Difference> kNone;
  for (size_t i = 0; i < miss.nearest.size(); ++i) {
    if (i > 0) json += ',';
    json += "{\"id\":" + json_string(std::to_string(miss.nearest[i].id)) + ",\"differs\":[" +
            differs_json(miss.nearest[i].differs, i < miss.bodies.size() ? miss.bodies[i] : kNone) + "]}";
  }
  return json + "],\"hint\":" + json_string(hint_of(miss)) + "}\n";
}

std::string miss_reason(const Miss& miss) {
  if (!miss.withheld.empty()) return "a redaction placeholder in " + std::string(miss.withheld);
  if (is_tunnel(*miss.parts)) return "a tunnel through another proxy";
  if (miss.exhausted) return "every recording of it was used once";
  if (is_out_of_reach(miss)) return "its origin asks for client certificates: it cannot be recorded";
  if (miss.nearest.empty()) return "nothing like it is recorded";
  const std::string fields = fields_of(miss, Names::OfBothSides);
  return "nearest " + std::to_string(miss.nearest.front().id) +
         (fields.empty() ? ": looks the same" : ": differs in " + fields);
}

}  // namespace tapdeck::modes

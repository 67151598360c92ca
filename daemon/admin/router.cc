#include "daemon/admin/router.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

#include "daemon/admin/error_response.h"
#include "daemon/admin/exporter.h"
#include "daemon/base/endpoint.h"
#include "daemon/http/message.h"

namespace tapdeck::admin {
namespace {

using nlohmann::json;

constexpr int kMaxJsonDepth = 16;

Response not_allowed(std::string allow) {
  Response out = error_response(405, "method_not_allowed", "this path does not take that method", "use " + allow);
  out.allow = std::move(allow);
  return out;
}

Response no_such_path() {
  return error_response(404, "not_found", "no such path", "GET / lists the paths");
}

bool is_read(const Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

// The decoded segments behind /api/v1/; none: it is not below that.
std::vector<std::string> api_path(const Request& request) {
  constexpr std::string_view kApi = "/api/v1/";
  std::vector<std::string> segments;
  if (!request.path.starts_with(kApi)) return segments;
  std::string_view rest = std::string_view(request.path).substr(kApi.size());
  while (true) {
    const size_t slash = rest.find('/');
    segments.push_back(decode_segment(rest.substr(0, slash)).value_or(""));
    if (slash == std::string_view::npos) return segments;
    rest.remove_prefix(slash + 1);
  }
}

// Recordings, and the names that clients asked for: who may not see the one may not see the other.
bool is_of_recordings(const std::vector<std::string>& path) {
  return path[0] == "recordings" || (path[0] == "sessions" && path.size() == 3 && path[2] == "names");
}

// Every byte is looked at, so that the time tells nothing about the token.
bool equal_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return difference == 0 && !a.empty();
}

// Host (or an origin's authority) without its port.
std::string_view host_name(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

// The members a body may have, each a string, or (sealed) a boolean. The error names what is wrong. An empty string is
// no name: what would stand for all, or for the daemon itself, is to be left out.
Result<json> parse_body(const Request& request, std::initializer_list<std::string_view> known) {
  if (request.body.empty()) return json::object();
  int depth = 0;
  std::set<std::string> seen;
  std::optional<std::string> repeated;  // of which one would be taken, silently
  json body = json::parse(
      request.body,
      [&](int d, json::parse_event_t event, json& key) {
        depth = std::max(depth, d);
        if (event == json::parse_event_t::key && d == 1 && !seen.insert(key.get<std::string>()).second)
          repeated = key.get<std::string>();
        return d <= kMaxJsonDepth;
      },
      /*allow_exceptions=*/false);
  if (body.is_discarded() || !body.is_object() || depth > kMaxJsonDepth) {
    return fail(Code::InvalidArgument, "the body is not a JSON object");
  }
  if (repeated) return fail(Code::InvalidArgument, "member '" + *repeated + "' is given more than once");
  for (const auto& [key, value] : body.items()) {
    if (std::ranges::find(known, key) == known.end())
      return fail(Code::InvalidArgument, "unknown member '" + key + "'");
    if (key == "sealed" ? !value.is_boolean() : !value.is_string()) {
      return fail(Code::InvalidArgument, "member '" + key + "' has the wrong type");
    }
    if (value == "") return fail(Code::InvalidArgument, "member '" + key + "' must not be empty");
  }
  return body;
}

std::string member(const json& body, const char* key) {
  const auto found = body.find(key);
  return found == body.end() ? std::string() : found->get<std::string>();
}

// Of a file on the daemon's host: what a relative one is relative to, the client cannot know.
Result<std::string> path_member(const json& body) {
  std::string path = member(body, "path");
  if (!path.empty() && !path.starts_with('/'))
    return fail(Code::InvalidArgument, "member 'path' must be absolute, not '" + path + "'");
  return path;
}

Result<Page> page_of(const Request& request) {
  Page page;
  if (const auto cursor = request.query.find("cursor"); cursor != request.query.end()) page.cursor = cursor->second;
  if (const auto limit = request.query.find("limit"); limit != request.query.end()) {
    const std::string& text = limit->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), page.limit);
    if (error != std::errc() || end != text.data() + text.size() || page.limit < 1 || page.limit > 1000) {
      return fail(Code::InvalidArgument, "limit must be a number from 1 to 1000");
    }
  }
  return page;
}

std::optional<std::string> query_value(const Request& request, const char* key) {
  const auto found = request.query.find(key);
  return found == request.query.end() ? std::nullopt : std::optional(found->second);
}

// What may be asked for in the query of this path.
std::span<const std::string_view> parameters_of(const Request& request, const std::vector<std::string>& path) {
  static constexpr std::string_view kPage[] = {"cursor", "limit"};
  static constexpr std::string_view kSearch[] = {"cursor", "limit", "session", "host",
                                                 "method", "path",  "status",  "text"};
  static constexpr std::string_view kBody[] = {"of"};
  if (!is_read(request)) return {};
  if (path[0] == "sessions" && (path.size() == 1 || is_of_recordings(path))) return kPage;
  if (path[0] == "recordings" && path.size() == 1) return kSearch;
  if (path[0] == "recordings" && path.size() == 3 && path[2] == "body") return kBody;
  return {};
}

std::optional<Response> refuse_query(const Request& request, const std::vector<std::string>& path) {
  const auto refuse = [](const std::string& what, const std::string& next) {
    return error_response(400, to_string(Code::InvalidArgument), what, next);
  };
  if (request.repeated) {
    return refuse("query parameter '" + *request.repeated + "' is given more than once", "give it once");
  }
  const auto known = parameters_of(request, path);
  for (const auto& [name, value] : request.query) {
    if (std::ranges::find(known, name) != known.end()) continue;
    std::string names;
    for (const std::string_view one : known) names.append(names.empty() ? "known here: " : ", ").append(one);
    return refuse("unknown query parameter '" + name + "'", names.empty() ? "this takes none" : names);
  }
  return std::nullopt;
}

Result<std::optional<int>> status_of(const Request& request) {
  const auto text = query_value(request, "status");
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0 || value > 999) {
    return fail(Code::InvalidArgument, "status must be a number from 0 (none was sent) to 999");
  }
  return value;
}

Result<Control::BodyOf> side_of(const Request& request) {
  const std::string side = query_value(request, "of").value_or("response");
  if (side == "request") return Control::BodyOf::Request;
  if (side == "response") return Control::BodyOf::Response;
  return fail(Code::InvalidArgument, "of must be 'request' or 'response', not '" + side + "'");
}

Result<std::optional<Mode>> mode_member(const json& body) {
  const std::string text = member(body, "mode");
  if (text.empty()) return std::nullopt;
  const auto mode = parse_mode(text);
  if (!mode) return fail(Code::InvalidArgument, "mode '" + text + "' is not record, replay, hybrid or passthrough");
  return mode;
}

constexpr const char* kIndex = R"({"service":"tapdeck","paths":["/metrics","/healthz","/readyz","/api/v1/status",)"
                               R"("/api/v1/sessions","/api/v1/recordings","/api/v1/mode","/api/v1/targets"]})"
                               "\n";

}  // namespace

Router::Router(RouterOptions options, Control& control, MetricsRegistry& metrics)
    : options_(std::move(options)), control_(control), metrics_(metrics) {}

Lane Router::lane_of(const Request& request) const {
  const std::vector<std::string> path = api_path(request);
  if (path.empty() || refuse(request, path)) return Lane::Now;
  if (is_of_recordings(path)) return Lane::Recordings;
  // A session may have the name of either.
  const bool is_import = path.size() == 2 && path[1] == "import" && request.method == "POST";
  const bool is_export = path.size() == 3 && path[2] == "export";
  return path[0] == "sessions" && (is_import || is_export) ? Lane::Recordings : Lane::Changes;
}

Response Router::respond(const Request& request) {
  return counted(answer(request));
}

Response Router::too_many() {
  return counted(error_response(503, to_string(Code::Exhausted), "other answers with recordings are still being sent",
                                "try again when they have been read"));
}

Response Router::counted(Response response) {
  const Counter counters[] = {Counter::Admin2xx, Counter::Admin3xx, Counter::Admin4xx, Counter::Admin5xx};
  metrics_.add(counters[std::min(response.status / 100, 5) - 2]);
  return response;
}

// A browser page must not reach us by a name of its own (DNS rebinding) nor by a form or script of another origin.
std::optional<Response> Router::refuse(const Request& request, const std::vector<std::string>& path) const {
  if (request.via == Via::Unix) return std::nullopt;
  const auto allowed = [&](std::string_view authority) {
    const std::string_view name = host_name(authority);
    if (http::iequals(name, "localhost")) return true;
    if (const auto address = Endpoint::parse(name.starts_with('[') ? name.substr(1, name.size() - 2) : name)) {
      return address->is_loopback();
    }
    return std::ranges::any_of(options_.allowed_hosts, [&](const std::string& host) {
      return http::iequals(host, name) || http::iequals(host, authority);
    });
  };
  if (!allowed(request.host)) {
    return error_response(403, "host_not_allowed", "the Host header names neither loopback nor an allowed host",
                          "use http://127.0.0.1, or add the name to admin.allowed_hosts");
  }
  if (request.origin) {
    const size_t scheme = request.origin->find("://");
    if (scheme == std::string::npos || !allowed(std::string_view(*request.origin).substr(scheme + 3))) {
      return error_response(403, "origin_not_allowed", "requests from pages of another origin are refused",
                            "add its host to admin.allowed_hosts if it is yours");
    }
  }
  const bool is_protected = options_.protect_recordings && !path.empty() && is_of_recordings(path);
  if (is_read(request) && !is_protected) return std::nullopt;
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view given = request.authorization;
  if (!http::iequals(given.substr(0, kBearer.size()), kBearer) ||
      !equal_secret(given.substr(std::min(kBearer.size(), given.size())), options_.token)) {
    return error_response(
        401, "token_required",
        (is_read(request) ? "recordings" : "changes") + std::string(" over TCP need the bearer token"),
        "send 'Authorization: Bearer TOKEN' with the content of " + options_.token_file + ", or use the unix socket");
  }
  return std::nullopt;
}

Response Router::answer(const Request& request) {
  const std::vector<std::string> path = api_path(request);
  if (auto refusal = refuse(request, path)) {
    metrics_.add(Counter::AdminDenied);
    return std::move(*refusal);
  }
  if (!path.empty()) return api(request, path);
  if (!is_read(request)) return not_allowed("GET, HEAD");
  if (request.path == "/metrics") {
    return {.content_type = kMetricsContentType, .body = render_metrics(metrics_)};
  }
  if (request.path == "/healthz") return {.content_type = "text/plain", .body = "ok\n"};
  if (request.path == "/readyz") {
    const Readiness state = control_.readiness();
    return {.status = state.ready ? 200 : 503,
            .content_type = "text/plain",
            .body = state.ready ? "ready\n" : "not ready: " + state.reason + "\n"};
  }
  if (request.path == "/") return {.body = kIndex};
  return no_such_path();
}

Response Router::api(const Request& request, const std::vector<std::string>& path) {
  if (auto refusal = refuse_query(request, path)) return std::move(*refusal);
  if (path[0] == "status" && path.size() == 1) {
    return is_read(request) ? from(control_.status()) : not_allowed("GET, HEAD");
  }
  if (path[0] == "sessions") return sessions(request, path);
  if (path[0] == "recordings") return recordings(request, path);
  if (path[0] == "mode" && path.size() == 1) return mode(request);
  if (path[0] == "targets") return targets(request, path);
  return no_such_path();
}

Response Router::sessions(const Request& request, const std::vector<std::string>& path) {
  const bool is_names = is_of_recordings(path);
  if ((path.size() == 1 || is_names) && is_read(request)) {
    const auto page = page_of(request);
    if (!page) return from_error(page.error());
    return from(is_names ? control_.names(path[1], *page) : control_.sessions(*page));
  }
  if (is_names) return not_allowed("GET, HEAD");
  if (path.size() == 1 && request.method == "POST") {
    const auto body = parse_body(request, {"name"});
    if (!body) return from_error(body.error());
    return from(control_.create_session(member(*body, "name")), 201);
  }
  if (path.size() == 1) return not_allowed("GET, HEAD, POST");
  const std::string& name = path[1];
  if (path.size() == 2 && name == "import" && request.method == "POST") {
    const auto body = parse_body(request, {"path", "name"});
    if (!body) return from_error(body.error());
    const auto file = path_member(*body);
    if (!file) return from_error(file.error());
    return from_import(control_.import_session(member(*body, "name"), *file));
  }
  if (path.size() == 2) {
    if (is_read(request)) return from(control_.session(name));
    if (request.method == "DELETE") return from_deletion(control_.delete_session(name));
    return not_allowed("GET, HEAD, DELETE");
  }
  if (path.size() != 3) return no_such_path();
  if (path[2] != "activate" && path[2] != "rewind" && path[2] != "export") return no_such_path();
  if (request.method != "POST") return not_allowed("POST");
  const auto body = path[2] == "export" ? parse_body(request, {"path"}) : parse_body(request, {"target"});
  if (!body) return from_error(body.error());
  if (path[2] == "activate") return from(control_.activate_session(name, member(*body, "target")));
  if (path[2] == "rewind") return from(control_.rewind_session(name, member(*body, "target")));
  const auto file = path_member(*body);
  return file ? from(control_.export_session(name, *file)) : from_error(file.error());
}

Response Router::recordings(const Request& request, const std::vector<std::string>& path) {
  if (path.size() == 1) {
    if (!is_read(request)) return not_allowed("GET, HEAD");
    const auto page = page_of(request);
    if (!page) return from_error(page.error());
    const auto status = status_of(request);
    if (!status) return from_error(status.error());
    const RecordingFilter filter{.session = query_value(request, "session").value_or(""),
                                 .host = query_value(request, "host"),
                                 .method = query_value(request, "method"),
                                 .path_contains = query_value(request, "path"),
                                 .status = *status,
                                 .text = query_value(request, "text")};
    return from(control_.recordings(filter, *page));
  }
  if (path.size() == 2) {
    if (is_read(request)) return from(control_.recording(path[1]));
    if (request.method == "DELETE") return from(control_.delete_recording(path[1]));
    return not_allowed("GET, HEAD, DELETE");
  }
  if (path.size() != 3 || path[2] != "body") return no_such_path();
  if (!is_read(request)) return not_allowed("GET, HEAD");
  const auto side = side_of(request);
  if (!side) return from_error(side.error());
  auto body = control_.recording_body(path[1], *side);
  if (!body) return from_error(body.error());
  auto first = body->next();  // while an error can still be told
  if (!first) return from_error(first.error());
  body->bytes -= first->size();
  // Never as the recorded type: a recorded page must not run as ours.
  return {.content_type = "application/octet-stream", .body = std::move(*first), .rest = std::move(*body)};
}

Response Router::mode(const Request& request) {
  if (is_read(request)) return from(control_.mode());
  if (request.method != "PUT" && request.method != "POST") return not_allowed("GET, HEAD, PUT");
  const auto body = parse_body(request, {"mode", "target"});
  if (!body) return from_error(body.error());
  const auto wanted = mode_member(*body);
  if (!wanted) return from_error(wanted.error());
  if (!*wanted) return from_error({.code = Code::InvalidArgument, .detail = "member 'mode' is missing"});
  return from(control_.set_mode(**wanted, member(*body, "target")));
}

Response Router::targets(const Request& request, const std::vector<std::string>& path) {
  if (path.size() == 1 && is_read(request)) return from(control_.targets());
  if (path.size() == 1 && request.method == "POST") {
    const auto body = parse_body(request, {"kind", "selector", "name", "session", "mode", "sealed"});
    if (!body) return from_error(body.error());
    const auto wanted = mode_member(*body);
    if (!wanted) return from_error(wanted.error());
    AttachRequest attach{.kind = member(*body, "kind"),
                         .selector = member(*body, "selector"),
                         .name = member(*body, "name"),
                         .session = std::nullopt,
                         .mode = *wanted,
                         .sealed = body->value("sealed", false)};
    if (body->contains("session")) attach.session = member(*body, "session");
    return from(control_.attach(attach), 201);
  }
  if (path.size() == 1) return not_allowed("GET, HEAD, POST");
  const bool is_own = path.size() == 3 && (path[2] == "mode" || path[2] == "session");
  if (path.size() != 2 && !is_own) return no_such_path();
  if (request.method != "DELETE") return not_allowed("DELETE");
  if (!is_own) return from(control_.detach(path[1]));
  return from(control_.follow_daemon(path[2] == "mode" ? Own::Mode : Own::Session, path[1]));
}

}  // namespace tapdeck::admin

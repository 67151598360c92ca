#include "daemon/http/translate.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "daemon/http/h1_syntax.h"

namespace tapdeck::http {

namespace {

std::unexpected<Error> refuse(std::string_view what, Code code = Code::Internal, Origin origin = Origin::Internal) {
  return fail(code, "cannot be said in the other HTTP version: " + std::string(what), origin);
}

// Of a request: its client's.
std::unexpected<Error> refuse_request(std::string_view what) {
  return refuse(what, Code::Protocol, Origin::Downstream);
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

// Lower-cased in `scratch` where that is needed.
std::string_view lower(std::string_view name, std::string& scratch) {
  if (std::none_of(name.begin(), name.end(), is_upper)) return name;
  scratch.assign(name);
  for (char& c : scratch) {
    if (is_upper(c)) c = static_cast<char>(c + ('a' - 'A'));
  }
  return scratch;
}

// `name` is lower case.
bool is_connection_field(std::string_view name) {
  switch (name.size()) {
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 14:
      return name == "http2-settings";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    default:
      return false;
  }
}

enum class Kind { Request, Response, Trailers };

std::unexpected<Error> refuse_field(Kind kind, std::string_view what) {
  return kind == Kind::Request ? refuse_request(what) : refuse(what);
}

// Names to leave out beside those of the connection, lower case.
using Without = std::span<const std::string_view>;
// A pipe's bytes are no body, whatever its handshake said. Nor have interim responses and 204 one (RFC 9110 8.6), and
// HTTP/2 clients break a stream off for what HTTP/1 origins say all the same.
constexpr std::string_view kNoBody[] = {"content-length"};
constexpr std::string_view kWebSocketRequest[] = {"content-length", "sec-websocket-key"};
constexpr std::string_view kWebSocketResponse[] = {"content-length", "sec-websocket-accept"};

// All fields but those that HTTP/2 has no place for.
Result<void> copy_fields(const Headers& from, Kind kind, Without without, Headers& to) {
  const bool named = from.find("connection").has_value();
  std::string scratch;
  for (size_t i = 0; i < from.size(); ++i) {
    const Headers::Field field = from[i];
    if (!is_token(field.name)) return refuse_field(kind, "a header name");
    if (!all_bytes(field.value, kValueByte)) return refuse_field(kind, "a header value");
    const std::string_view name = lower(field.name, scratch);
    if (is_connection_field(name) || std::ranges::count(without, name) > 0) continue;
    if (kind == Kind::Request && name == "host") continue;
    if (name == "te") {
      if (from.has_token("te", "trailers") && !to.find("te")) to.add("te", "trailers");
      continue;
    }
    if (kind == Kind::Trailers && name == "content-length")
      return refuse_field(kind, "a framing field in the trailers");
    if (named && from.has_token("connection", name)) continue;
    to.add(name, trim_ows(field.value));
  }
  return {};
}

struct Target {
  std::string_view path;
  std::string_view authority;  // of an absolute-form target
  std::string_view scheme;
};

// RFC 9112 3.2: origin-form and "*" are the path; absolute-form holds scheme and authority too.
Target split(const RequestHead& head) {
  const std::string_view target = head.target;
  const size_t colon = target.find("://");
  if (target.starts_with('/') || colon == std::string_view::npos) return {target, {}, {}};
  const size_t authority = colon + 3;
  size_t path = target.find_first_of("/?", authority);
  if (path == std::string_view::npos) path = target.size();
  Target out{target.substr(path), target.substr(authority, path - authority), target.substr(0, colon)};
  if (out.path.empty()) out.path = head.method == "OPTIONS" ? "*" : "/";
  return out;
}

std::string_view authority_of(const RequestHead& head) {
  if (!head.authority.empty()) return head.authority;
  const auto host = head.headers.find("host");
  return host ? *host : std::string_view{};
}

}  // namespace

bool accepts_websocket(const RequestHead& request, int status) {
  if (!is_websocket(request)) return false;
  return request.method == "CONNECT" ? status / 100 == 2 : status == 101;
}

Result<void> to_h2(const RequestHead& head, std::string_view scheme, Headers& fields) {
  fields.clear();
  if (!is_token(head.method)) return refuse_request("the method");
  const bool websocket = is_websocket(head);
  const bool tunnel = asks_for_tunnel(head);
  const Target target = split(head);
  std::string_view authority = authority_of(head);
  std::string lower_scheme;
  if (tunnel) {
    authority = head.target;
    if (!is_authority_with_port(authority)) return refuse_request("the target of CONNECT");
  } else {
    if (!target.authority.empty()) authority = target.authority;
    if (!is_authority(authority)) return refuse_request("a request without a proper authority");
    if (target.path.empty() || !all_bytes(target.path, kTargetByte)) return refuse_request("the request target");
    // Anything else ("?q" after an authority, say) is no path; "*" asks about the server and so belongs to OPTIONS.
    if (target.path.front() != '/' && !(target.path == "*" && head.method == "OPTIONS")) {
      return refuse_request("the form of the request target");
    }
    if (!target.scheme.empty()) {
      scheme = target.scheme;
    } else if (!head.scheme.empty()) {
      scheme = head.scheme;
    }
    scheme = lower(scheme, lower_scheme);
    if (scheme != "http" && scheme != "https") return refuse_request("the scheme");
  }
  fields.add(":method", websocket ? "CONNECT" : std::string_view(head.method));
  if (websocket) {
    fields.add(":protocol", "websocket");
  } else if (!head.protocol.empty()) {
    if (!is_token(head.protocol)) return refuse_request("the protocol of an extended CONNECT");
    fields.add(":protocol", head.protocol);
  }
  if (!tunnel) {
    fields.add(":scheme", scheme);
    fields.add(":path", target.path);
  }
  fields.add(":authority", authority);
  Without without;
  if (tunnel) without = kNoBody;
  if (websocket && head.version != Version::Http2) without = kWebSocketRequest;
  return copy_fields(head.headers, Kind::Request, without, fields);
}

Result<void> to_h2(const ResponseHead& head, Headers& fields) {
  fields.clear();
  if (head.status < 100 || head.status > 999) return refuse("the status");
  const bool upgraded = head.status == 101;
  const int status = upgraded ? 200 : head.status;
  const std::array<char, 3> digits = {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10),
                                      static_cast<char>('0' + status % 10)};
  fields.add(":status", {digits.data(), digits.size()});
  Without without;
  if (status < 200 || status == 204) without = kNoBody;
  if (upgraded) without = kWebSocketResponse;
  return copy_fields(head.headers, Kind::Response, without, fields);
}

Result<void> to_h2_trailers(const Headers& trailers, Headers& fields) {
  fields.clear();
  return copy_fields(trailers, Kind::Trailers, {}, fields);
}

namespace {

// Fields of an HTTP/2 head, cookies joined at the place of the first.
Result<void> add_fields(const Headers& from, Headers& to) {
  std::string cookies;
  const bool joining = from.count("cookie") > 1;
  if (joining) {
    for (size_t i = 0; i < from.size(); ++i) {
      const auto [name, value] = from[i];
      if (!iequals(name, "cookie") || value.empty()) continue;  // an empty crumb would end the value with a blank
      if (!cookies.empty()) cookies += "; ";
      cookies += value;
    }
  }
  bool joined = false;
  for (size_t i = 0; i < from.size(); ++i) {
    const auto [name, value] = from[i];
    if (!is_token(name)) return refuse_request("a header name");
    if (!all_bytes(value, kValueByte)) return refuse_request("a header value");
    if (iequals(name, "host")) continue;
    if (joining && iequals(name, "cookie")) {
      if (!joined) to.add(name, cookies);
      joined = true;
      continue;
    }
    to.add(name, value);
  }
  return {};
}

}  // namespace

Result<RequestHead> to_h1(const RequestHead& head) {
  RequestHead out;
  const bool websocket = is_websocket(head);
  if (!head.protocol.empty() && !websocket) {
    return fail(Code::Unsupported, "HTTP/1 has no extended CONNECT for '" + head.protocol + "'");
  }
  const std::string_view authority = authority_of(head);
  if (!is_authority(authority)) return refuse_request("a request without a proper authority");
  out.method = websocket ? "GET" : head.method;
  out.target = head.target;
  out.version = Version::Http11;
  out.scheme = head.scheme;
  out.authority = authority;
  out.headers.add("Host", authority);
  if (websocket) {
    out.headers.add("Upgrade", "websocket");
    out.headers.add("Connection", "Upgrade");
  } else if (head.headers.find("te")) {
    out.headers.add("Connection", "TE");  // RFC 9110 10.1.4: TE is hop by hop and has to be named
  }
  TRY_VOID(add_fields(head.headers, out.headers));
  return out;
}

Result<ResponseHead> to_h1(const ResponseHead& head, Answers answers) {
  ResponseHead out;
  out.version = Version::Http11;
  out.status = head.status;
  if (answers == Answers::WebSocket && head.status / 100 == 2 && head.headers.find("sec-websocket-accept")) {
    out.status = 101;
    out.headers.add("Upgrade", "websocket");
    out.headers.add("Connection", "Upgrade");
  }
  out.reason =
      head.reason.empty() || out.status != head.status ? reason_phrase(out.status) : std::string_view(head.reason);
  for (size_t i = 0; i < head.headers.size(); ++i) {
    const auto [name, value] = head.headers[i];
    if (!is_token(name)) return refuse("a header name");
    if (!all_bytes(value, kValueByte)) return refuse("a header value");
    out.headers.add(name, value);
  }
  return out;
}

}  // namespace tapdeck::http

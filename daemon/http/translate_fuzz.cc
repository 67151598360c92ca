// Fuzzes the translation between HTTP versions. First byte: 0 a request that came over HTTP/2, 1 a request that came
// over HTTP/1, 2 a response that came over HTTP/2, 3 a response over HTTP/1. Rest: HTTP/1 bytes, or "name: value"
// lines.
//
// Asserts: what is written for the other side is taken there by our own strict reader, and translated back it means
// what it meant: the same pseudo-header fields and the same other fields.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "daemon/http/h1_codec.h"
#include "daemon/http/h1_syntax.h"
#include "daemon/http/h2_heads.h"
#include "daemon/http/h2_loopback.h"
#include "daemon/http/translate.h"

using namespace tapdeck;
using namespace tapdeck::http;

namespace {

void require(bool ok, const char* what, const std::string& a = {}, const std::string& b = {}) {
  if (ok) return;
  std::fprintf(stderr, "%s\n--- one\n%s\n--- other\n%s\n", what, a.c_str(), b.c_str());
  std::abort();
}

// What a header list means: fields sorted by name, order within a name kept, cookies joined.
std::string meaning(const Headers& fields) {
  std::multimap<std::string, std::string> sorted;  // keeps the order within a name
  std::string cookies;
  for (size_t i = 0; i < fields.size(); ++i) {
    const std::string name(fields[i].name);
    if (name == "cookie") {
      if (fields[i].value.empty()) continue;  // no crumb at all
      cookies += (cookies.empty() ? "" : "; ") + std::string(fields[i].value);
    } else {
      sorted.emplace(name, fields[i].value);
    }
  }
  if (!cookies.empty()) sorted.emplace("cookie", cookies);
  std::string out;
  for (const auto& [name, value] : sorted) out += name + "=" + value + "\n";
  return out;
}

// Lines as a decoded header block that nghttp2 let through.
bool read_block(std::string_view text, H2HeadReader& reader) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t colon = line.find(':', 1);
    if (line.empty() || colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim_ows(line.substr(colon + 1));
    if (!is_token(name.starts_with(':') ? name.substr(1) : name) || !all_bytes(value, kValueByte)) return false;
    if (std::any_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return false;
    for (const char* bad : {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"}) {
      if (name == bad) return false;
    }
    if (name == "content-length" && value != "3") return false;
    if (reader.add(name, value) != H2HeadReader::Fit::Fits) return false;
  }
  return !reader.finish();
}

void request_from_h2(std::string_view text) {
  RequestHead head;
  ResponseHead unused;
  Headers trailers;
  H2HeadReader reader({});
  reader.begin(H2HeadReader::Block::Request, head, unused, trailers);
  if (!read_block(text, reader) || head.headers.count("content-length") > 1 || head.headers.count("host") > 1) return;
  Headers before;
  require(to_h2(head, "https", before).has_value(), "a request that came over HTTP/2 can go on over it");
  auto client = make_h1_codec(Role::Client);
  if (!client->send_request(head, EndStream::No)) {
    require(!head.protocol.empty() && !is_websocket(head), "refused for HTTP/1", meaning(before));
    return;
  }
  const std::string wire = client->output().to_string();
  auto server = make_h1_codec(Role::Server, {}, head.scheme);
  server->input().append(wire);
  auto event = server->next();
  if (!event && event.error().code == Code::Unsupported) return;  // a method that llhttp does not know
  require(event && *event && std::holds_alternative<HeadReceived>(**event), "our reader refuses what we wrote", wire,
          event ? "" : event.error().detail);
  Headers after;
  require(to_h2(server->request_head(), "https", after).has_value(), "what became HTTP/1 can go back", wire);
  Headers wanted = before;
  if (is_websocket(head)) wanted.remove("sec-websocket-key");
  require(meaning(after) == meaning(wanted), "the meaning of a request changed", meaning(wanted), meaning(after));
}

void request_from_h1(std::string_view text) {
  auto server = make_h1_codec(Role::Server, {}, "https");
  server->input().append(text);
  auto event = server->next();
  if (!event || !*event || !std::holds_alternative<HeadReceived>(**event)) return;
  const RequestHead head = server->request_head();
  const EndStream end = std::get<HeadReceived>(**event).end;
  H2Loopback wire;
  wire.exchange();
  const auto sent = wire.client().send_request(head, end);
  if (!sent) return;  // no authority, or a form that HTTP/2 has no place for
  wire.exchange();
  const std::string log = wire.server_log().take();
  require(log.starts_with("head 1 "), "our reader refuses what we wrote", std::string(text), log);
  Headers wanted, seen;
  require(to_h2(head, "https", wanted) && to_h2(wire.server().request_head(), "https", seen), "can be said again");
  require(meaning(seen) == meaning(wanted), "the meaning of a request changed", meaning(wanted), meaning(seen));
}

void response_through_h2(const ResponseHead& head) {
  H2Loopback wire;
  require(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes).has_value(), "a request");
  wire.exchange();
  if (head.status < 200) {
    if (!wire.server().send_informational(1, head)) return;
  } else if (!wire.server().send_response(1, head, EndStream::No)) {
    return;
  }
  wire.exchange();
  const std::string log = wire.client_log().take();
  require(log.starts_with("head 1 ") || log.starts_with("info 1 "), "our reader refuses what we wrote", log);
  Headers wanted, seen;
  require(to_h2(head, wanted) && to_h2(wire.client().response_head(), seen), "can be said again");
  require(meaning(seen) == meaning(wanted), "the meaning of a response changed", meaning(wanted), meaning(seen));
}

void response_from_h1(std::string_view text) {
  auto client = make_h1_codec(Role::Client);
  RequestHead request;
  request.method = "GET";
  request.target = "/";
  request.headers.add("Host", "a");
  require(client->send_request(request, EndStream::Yes).has_value(), "a request");
  client->input().append(text);
  auto event = client->next();
  if (!event || !*event || std::holds_alternative<GoingAway>(**event)) return;
  response_through_h2(client->response_head());
}

void response_from_h2(std::string_view text) {
  RequestHead unused;
  ResponseHead head;
  Headers trailers;
  H2HeadReader reader({});
  reader.begin(H2HeadReader::Block::Response, unused, head, trailers);
  if (!read_block(text, reader) || head.headers.count("content-length") > 1 || head.status < 200) return;
  response_through_h2(head);
  auto server = make_h1_codec(Role::Server);
  server->input().append("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  while (true) {
    auto event = server->next();
    if (!event || !*event) break;
  }
  require(server->send_response(1, head, EndStream::No).has_value(), "an HTTP/2 response can be said in HTTP/1");
  auto client = make_h1_codec(Role::Client);
  RequestHead request;
  request.method = "GET";
  request.target = "/";
  request.headers.add("Host", "a");
  require(client->send_request(request, EndStream::Yes).has_value(), "a request");
  const std::string wire = server->output().to_string();
  client->input().append(wire);
  auto event = client->next();
  require(event && *event && std::holds_alternative<HeadReceived>(**event), "our reader refuses what we wrote", wire,
          event ? "" : event.error().detail);
  Headers wanted, seen;
  require(to_h2(head, wanted) && to_h2(client->response_head(), seen), "can be said again");
  require(meaning(seen) == meaning(wanted), "the meaning of a response changed", meaning(wanted), meaning(seen));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 16384) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      request_from_h2(text);
      break;
    case 1:
      request_from_h1(text);
      break;
    case 2:
      response_from_h2(text);
      break;
    default:
      response_from_h1(text);
      break;
  }
  return 0;
}

// Fuzzes H1Codec in both roles. First byte: even = requests (Server), odd = responses (Client); second byte: seed of
// the cuts, and which requests the responses answer. Rest: what the peer sends.
//
// Asserts: however the input is cut, the events are the same; and a head that was read, written again and read again is
// the same head (what we forward means to the next parser what it meant to us).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "daemon/http/h1_transcript.h"

using namespace tapdeck;
using namespace tapdeck::http;

namespace {

void require(bool ok, const char* what, const std::string& a = {}, const std::string& b = {}) {
  if (ok) return;
  std::fprintf(stderr, "%s\n--- one\n%s\n--- other\n%s\n", what, a.c_str(), b.c_str());
  std::abort();
}

TranscriptOptions options_from(uint8_t role, uint8_t seed) {
  TranscriptOptions options;
  options.limits = {.head_bytes = 2048, .headers = 24};
  options.eof = (seed & 1) != 0;
  if ((role & 1) == 0) {
    options.answer = (seed & 2) != 0 ? 101 : 200;
    return options;
  }
  options.role = Role::Client;
  constexpr const char* kFirst[] = {"GET", "HEAD", "GET upgrade", "CONNECT"};
  options.requests = {kFirst[(seed >> 1) & 3], "GET", "HEAD", "GET"};
  return options;
}

std::string cut_by_seed(std::string_view bytes, uint8_t seed, const TranscriptOptions& options) {
  Transcript run(options);
  uint32_t state = seed * 2654435761U + 1;
  while (!bytes.empty()) {
    state = state * 1664525 + 1013904223;
    const size_t n = std::min<size_t>(1 + (state >> 24) % 32, bytes.size());
    run.feed(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
  return run.finish();
}

// The first event of `codec`, which must be a head.
bool read_head(Codec& codec) {
  auto event = codec.next();
  return event && *event && std::holds_alternative<HeadReceived>(**event);
}

void request_survives(const RequestHead& head, EndStream end) {
  auto writer = make_h1_codec(Role::Client);
  auto sent = writer->send_request(head, end);
  require(sent.has_value(), "a request that was read cannot be sent", head.target, sent ? "" : sent.error().detail);
  auto reader = make_h1_codec(Role::Server);
  reader->input().append(std::move(writer->output()));
  require(read_head(*reader), "a request that was written cannot be read", head.target);
  const RequestHead& again = reader->request_head();
  require(again.method == head.method && again.target == head.target && again.version == head.version, "request line");
  require(again.authority == head.authority && again.scheme == head.scheme, "authority", again.authority,
          head.authority);
  require(again.headers == head.headers, "request headers");
}

void response_survives(const ResponseHead& head, EndStream end) {
  auto writer = make_h1_codec(Role::Server);
  writer->input().append("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  require(read_head(*writer), "own request");
  const bool framed = head.headers.find("content-length") || head.headers.find("transfer-encoding");
  if (!framed && end == EndStream::No) return;  // gets framing added: not the same head, on purpose
  auto sent = writer->send_response(1, head, end);
  require(sent.has_value(), "a response that was read cannot be sent", head.reason, sent ? "" : sent.error().detail);
  auto reader = make_h1_codec(Role::Client);
  RequestHead request;
  request.method = "GET";
  request.target = "/";
  request.headers.add("Host", "a");
  require(reader->send_request(request, EndStream::Yes).has_value(), "own request");
  reader->input().append(std::move(writer->output()));
  require(read_head(*reader), "a response that was written cannot be read", head.reason);
  const ResponseHead& again = reader->response_head();
  require(again.status == head.status && again.reason == head.reason && again.version == head.version, "status line");
  require(again.headers == head.headers, "response headers");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const TranscriptOptions options = options_from(data[0], data[1]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string whole = transcript(bytes, options);
  const std::string cut = cut_by_seed(bytes, data[1], options);
  require(cut == whole, "cutting the input changes the events", whole, cut);
  if (size < 300) {
    const std::string bytewise = transcript_bytewise(bytes, options);
    require(bytewise == whole, "single bytes change the events", whole, bytewise);
  }

  Transcript first(options);
  first.codec().input().append(bytes);
  auto event = first.codec().next();
  if (!event || !*event || !std::holds_alternative<HeadReceived>(**event)) return 0;
  const EndStream end = std::get<HeadReceived>(**event).end;
  if (options.role == Role::Server) {
    request_survives(first.codec().request_head(), end);
  } else if (options.requests.front() == "GET") {
    response_survives(first.codec().response_head(), end);
  }
  return 0;
}

// The cost of one HTTP/2 exchange on one side, in nanoseconds: requests as a client's nghttp2 would repeat them (HPACK
// indices after the first), a 2 KiB response out. The client's side is measured and taken off.
// Not a test: prints figures for docs/PERFORMANCE.md.
#include <cstdio>
#include <ctime>
#include <string>
#include <variant>

#include "daemon/http/h2_loopback.h"

using namespace tapdeck;
using namespace tapdeck::http;

namespace {

// CPU time, so that other load on the machine does not count.
double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

RequestHead request() {
  return h2_request("GET", "/api/v1/items/4711?fields=name,price&page=2",
                    {{"user-agent", "curl/8.5.0"},
                     {"accept", "application/json"},
                     {"accept-encoding", "gzip, br"},
                     {"authorization", "Bearer abcdefghijklmnopqrstuvwxyz"},
                     {"x-request-id", "7f1c3a9e-3f0a-4c55-9a51-0d0f4b1c2d3e"},
                     {"cookie", "session=0123456789abcdef"}});
}

ResponseHead response() {
  return h2_response(200, {{"server", "nginx/1.22.1"},
                           {"date", "Mon, 01 Jan 2024 00:00:00 GMT"},
                           {"content-type", "application/json"},
                           {"content-length", "2048"},
                           {"etag", "\"65921d80-800\""}});
}

// Runs what `codec` has received; answers requests, counts ends.
size_t drive(Codec& codec, Role role, const ResponseHead& head, const std::string& body) {
  static const Headers none;
  size_t complete = 0;
  while (true) {
    auto event = codec.next();
    if (!event || !*event) return complete;
    if (const auto* bytes = std::get_if<BodyReceived>(&**event)) codec.consumed(bytes->stream, bytes->bytes.size());
    const auto* ended = std::get_if<MessageComplete>(&**event);
    if (ended == nullptr) continue;
    ++complete;
    if (role == Role::Client) continue;
    ignore(codec.send_response(ended->stream, head, EndStream::No), "counted by the client");
    ignore(codec.send_body(ended->stream, body), "counted by the client");
    ignore(codec.send_end(ended->stream, none), "counted by the client");
  }
}

}  // namespace

int main() {
  const RequestHead ask = request();
  const ResponseHead head = response();
  const std::string body(2048, 'x');
  auto client = make_h2_codec(Role::Client);
  auto server = make_h2_codec(Role::Server);
  constexpr size_t kRounds = 20000;
  constexpr size_t kStreams = 10;
  double server_ns = 0, client_ns = 0;
  size_t complete = 0;
  for (size_t round = 0; round < kRounds; ++round) {
    double start = cpu_ns();
    for (size_t i = 0; i < kStreams; ++i) {
      if (!client->send_request(ask, EndStream::Yes)) return std::puts("refused"), 1;
    }
    server->input().append(std::move(client->output()));
    client_ns += cpu_ns() - start;
    start = cpu_ns();
    drive(*server, Role::Server, head, body);
    client->input().append(std::move(server->output()));
    server_ns += cpu_ns() - start;
    start = cpu_ns();
    complete += drive(*client, Role::Client, head, body);
    client_ns += cpu_ns() - start;
  }
  if (complete != kRounds * kStreams) return std::puts("not all were answered"), 1;
  const auto exchanges = static_cast<double>(complete);
  std::printf("server exchange over h2 (2 KiB response): %.0f ns; client exchange: %.0f ns\n", server_ns / exchanges,
              client_ns / exchanges);
}

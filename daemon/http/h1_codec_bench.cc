// Parse and serialise cost of one exchange on one side, in nanoseconds: a 300-byte request in, a 2 KiB response out.
// Not a test: prints a figure for docs/PERFORMANCE.md.
#include <cstdio>
#include <ctime>
#include <string>
#include <variant>

#include "daemon/http/h1_codec.h"

using namespace tapdeck;
using namespace tapdeck::http;

namespace {

// CPU time, so that other load on the machine does not count.
double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

}  // namespace

int main() {
  std::string request =
      "GET /api/v1/items/4711?fields=name,price&page=2 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\n"
      "Accept: application/json\r\nAccept-Encoding: gzip, br\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz\r\n"
      "X-Request-Id: 7f1c3a9e-3f0a-4c55-9a51-0d0f4b1c2d3e\r\nCookie: session=0123456789abcdef\r\n\r\n";
  ResponseHead head;
  head.status = 200;
  head.reason = "OK";
  for (const auto& [name, value] : {std::pair{"Server", "nginx/1.22.1"},
                                    {"Date", "Mon, 01 Jan 2024 00:00:00 GMT"},
                                    {"Content-Type", "application/json"},
                                    {"Content-Length", "2048"},
                                    {"Connection", "keep-alive"},
                                    {"ETag", "\"65921d80-800\""}}) {
    head.headers.add(name, value);
  }
  const std::string body(2048, 'x');
  const Headers none;
  auto codec = make_h1_codec(Role::Server);
  constexpr int kRounds = 1000000;
  const double start = cpu_ns();
  for (int i = 0; i < kRounds; ++i) {
    codec->input().append(request);
    StreamId stream = 0;
    while (true) {
      auto event = codec->next();
      if (!event) return std::puts(event.error().detail.c_str()), 1;
      if (!*event) break;
      if (const auto* received = std::get_if<HeadReceived>(&**event)) stream = received->stream;
    }
    if (!codec->send_response(stream, head, EndStream::No) || !codec->send_body(stream, body) ||
        !codec->send_end(stream, none)) {
      return 1;
    }
    codec->output().consume(codec->output().size());
  }
  const double spent = cpu_ns() - start;
  std::printf("server exchange (%zu byte request, 2 KiB response): %.0f ns\n", request.size(), spent / kRounds);
}

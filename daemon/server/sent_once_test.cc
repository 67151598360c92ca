// What an origin has seen it does not see again: requests whose answer was not taken, and whose connection was new.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kFirst = "GET /first HTTP/1.1\r\nHost: api.test\r\n\r\n";
constexpr std::string_view kDelete = "DELETE /thing HTTP/1.1\r\nHost: api.test\r\n\r\n";

std::string many_fields() {
  std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
  for (int i = 0; i < 300; ++i) head += "X-C: 1\r\n";
  return head + "\r\nok";
}

TEST(SentOnce, ARequestWhoseAnswerIsNotTaken) {
  const struct {
    const char* what;
    std::string answer;
  } table[] = {
      {"a long head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: " + std::string(70000, 'a') + "\r\n\r\nok"},
      {"many fields", many_fields()},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"},
      {"a folded field", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok"},
      {"half a head, and the end", "HTTP/1.1 200 OK\r\nContent-Le<FIN>"},
      {"half a head, and a reset", "HTTP/1.1 200 OK\r\nContent-Le<RST>"},
      {"no HTTP", "nonsense\r\n\r\n<FIN>"}};
  for (const auto& row : table) {
    WorkerRig rig;
    std::atomic<int> deleted{0};
    ScriptedOrigin origin(http_origin([&](const std::string& request) {
      if (!request.starts_with("DELETE")) return with_length("x!");
      ++deleted;
      return row.answer;
    }));
    rig.go_to(origin.endpoint());
    Wire client = rig.connect();
    client.write(kFirst);
    EXPECT_THAT(client.read_until("x!"), HasSubstr("200 OK"));
    client.write(kDelete);
    client.read_until("\r\n\r\n");
    client.close();
    EXPECT_EQ(deleted, 1) << row.what;
    EXPECT_EQ(origin.connections(), 1U) << row.what;
  }
}

TEST(SentOnce, TheFirstRequestOfAClientWhoseTlsConnectionWasMadeForIt) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(http_origin([&](const std::string&) {
                          ++asked;
                          return std::string("<FIN>");
                        }),
                        context.get());
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(std::string(kDelete), true), HasSubstr(" 502 "));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(rig.count(Counter::UpstreamReused), 0U);
}

// The second request is answered by bytes of the test's own: an HTTP/2 head with a field that must not be there.
TEST(SentOnce, AnHttp2RequestWhoseAnswerIsNotTaken) {
  WorkerRig rig;
  std::atomic<int> deleted{0};
  ScriptedOrigin origin([&](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
      if (wire.request().method != "DELETE") {
        wire.respond(stream, 200, "got");
        continue;
      }
      ++deleted;
      const std::string head = std::string("\x88\x00\x0a", 3) + "connection" + std::string("\x05") + "close";
      std::string frame("\0\0\0\x01\x05\0\0\0", 8);
      frame[2] = static_cast<char>(head.size());
      raw.write(frame + static_cast<char>(stream) + head);
    }
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/");
  EXPECT_THAT(client.until("END 1"), HasSubstr("got"));
  client.request("DELETE", "/thing");
  EXPECT_THAT(client.until("END 3"), HasSubstr("HEAD 3 502"));
  EXPECT_EQ(deleted, 1);
  raw.close();
}

ScriptedOrigin::End require_http11(Wire& raw) {
  H2Wire wire(raw, http::Role::Server);
  while (true) {
    const std::string what = wire.next();
    if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
    if (!what.starts_with("END")) continue;
    wire.codec().reset(static_cast<http::StreamId>(std::stoul(what.substr(4))), http::ResetCode::Http11Required);
    wire.flush();
  }
}

TEST(SentOnce, AnOriginThatRequiresHttp11SaysSoToItsClient) {
  WorkerRig rig;
  ScriptedOrigin origin(require_http11);
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("POST", "/", "x");
  EXPECT_EQ(client.until("RESET 1"), "RESET 1 13");
  raw.close();
}

RigOptions over_http2() {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V2;
  return options;
}

// Its client cannot be told so: it speaks HTTP/1.1 already.
TEST(SentOnce, AnOriginThatRequiresHttp11IsAskedSoForAClientOfThat) {
  WorkerRig rig(over_http2());
  std::atomic<int> begun{0};
  std::atomic<int> asked{0};
  const ScriptedOrigin::Script speak_http1 = http_origin([&](const std::string& request) {
    ++asked;
    EXPECT_THAT(request, testing::EndsWith("\r\n\r\nabc"));
    return with_length("got it");
  });
  ScriptedOrigin origin([&](Wire& raw) { return ++begun == 1 ? require_http11(raw) : speak_http1(raw); });
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  for (int turn = 1; turn <= 2; ++turn) {
    client.write("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc");
    EXPECT_THAT(client.read_until("got it"), testing::StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_EQ(asked, turn);
  }
  EXPECT_EQ(begun, 2) << "known from the first request on";
  client.close();
}

TEST(SentOnce, ALongRequestIsNotAskedAgainOverHttp11) {
  WorkerRig rig(over_http2());
  ScriptedOrigin origin(require_http11);
  rig.go_to(origin.endpoint());
  const std::string body(300'000, 'b');
  Wire client = rig.connect();
  client.write("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
               body);
  const std::string answer = client.read_until("}\n");
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"upstream_reset\""));
  EXPECT_EQ(origin.connections(), 1U);
  client.close();
}

}  // namespace
}  // namespace tapdeck::server

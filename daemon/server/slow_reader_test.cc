// Clients that ask for much and read late: answers wait for them in bounded memory, and nobody spins or dies meanwhile.
#include <gmock/gmock.h>

#include "daemon/server/session_rig.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

constexpr int kRequests = 600;
const std::string kBody(30000, 'b');  // fits one TLS turn: when the socket is full, all that is left is ciphertext

std::string many(const std::string& request) {
  std::string all;
  for (int i = 0; i < kRequests; ++i) all += request;
  return all;
}

TEST(SlowReader, AnswersAtOnceWaitForAPipeliningClient) {
  Rig rig({}, nullptr, 65536);
  int answered = 0;
  rig.handler.at_once = [&](exchange::Exchange& exchange) {
    ++answered;
    http::ResponseHead head;
    head.status = 200;
    head.reason = "OK";
    head.headers.add("Content-Length", std::to_string(kBody.size()));
    EXPECT_TRUE(exchange.respond(head, http::EndStream::No));
    EXPECT_TRUE(exchange.write_now({kBody, std::nullopt, true}));
    EXPECT_TRUE(exchange.end({}));
    return exchange::Served::Yes;
  };
  rig.run([&]() -> net::Task<> {
    co_await rig.client->send(many("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"));
    for (int quiet = 0, before = -1; quiet < 200; quiet = answered == before ? quiet + 1 : 0) {
      before = answered;
      co_await asio::post(rig.io, asio::use_awaitable);
    }
    EXPECT_LT(answered, 40) << "a megabyte of answers that nobody reads";
    rig.client->half_close();
    auto all = co_await rig.client->rest();
    EXPECT_EQ(all.size(), kRequests * ok(kBody).size() + std::string_view("<EOF>").size());
  });
  EXPECT_EQ(answered, kRequests);
}

// Until the daemon has answered as much as it can to one who does not read.
void wait_until_blocked(WorkerRig& rig, Mode mode, Outcome outcome) {
  uint64_t before = 0;
  int quiet = 0;
  EXPECT_TRUE(WorkerRig::eventually([&] {
    const uint64_t now = rig.outcomes(mode, outcome);
    quiet = now == before && now > 0 ? quiet + 1 : 0;
    before = now;
    return quiet > 500;
  }));
  EXPECT_LT(before, static_cast<uint64_t>(kRequests)) << "the test wants more answers than the kernel holds";
}

TEST(SlowReader, OverTlsGetsEverythingRecordedAndReplayed) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length(kBody); }), context.get());
  rig.go_to(origin.endpoint());
  const std::string request = "GET /slow HTTP/1.1\r\nHost: api.test\r\n\r\n";
  for (const auto& [mode, outcome] : {std::pair{Mode::Record, Outcome::Recorded}, {Mode::Replay, Outcome::Replayed}}) {
    if (mode == Mode::Replay) {
      origin.stop();
      rig.set_mode(Mode::Replay);
    }
    Wire wire = rig.connect_tls();
    ASSERT_TRUE(wire.write(many(request)));
    wait_until_blocked(rig, mode, outcome);
    EXPECT_EQ(wire.read_n(kRequests * with_length(kBody).size()).size(), kRequests * with_length(kBody).size());
    wire.close();
  }
}

}  // namespace
}  // namespace tapdeck::server

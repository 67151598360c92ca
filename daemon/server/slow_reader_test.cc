// Clients that ask for much and read late: answers wait for them in bounded memory, and nobody spins or dies meanwhile.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/session_rig.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

constexpr int kRequests = 600;
using namespace std::chrono_literals;

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
  EXPECT_TRUE(eventually([&] {
    const uint64_t now = rig.outcomes(mode, outcome);
    quiet = now == before && now > 0 ? quiet + 1 : 0;
    before = now;
    return quiet > 100;  // a second
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

ScriptedOrigin::Script wide_h2_origin() {
  return [](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    const std::string asked = wire.until("END");
    if (asked.contains("END 1")) wire.respond(1, 200, std::string(60000, 'w'));
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  };
}

// A client of HTTP/2 with a window smaller than the answer, whose handler has ended when the window is full.
class SmallWindow {
 public:
  explicit SmallWindow(WorkerRig& rig) : raw_(rig.connect()), client_(raw_, http::Role::Client, options()) {
    client_.hold();
    client_.request("GET", "/wide");
    while (body_ < kWindow && read_body()) {
    }
    EXPECT_EQ(body_, kWindow);
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Passthrough, Outcome::Forwarded) == 1; }));
  }
  // What comes of the body when the client reads on, and how it ends.
  std::pair<size_t, std::string> read_on() {
    do {
      client_.codec().consumed(1, std::exchange(held_, 0));
      client_.flush();
    } while (read_body());
    raw_.close();
    return {body_, last_};
  }

 private:
  static constexpr size_t kWindow = 16384;
  static http::H2Options options() {
    http::H2Options options;
    options.stream_window = kWindow;
    return options;
  }
  bool read_body() {
    last_ = client_.next();
    while (last_.starts_with("HEAD") || last_.starts_with("GOAWAY")) last_ = client_.next();
    if (!last_.starts_with("BODY 1 ")) return false;
    const size_t n = last_.size() - std::string_view("BODY 1 ").size();
    body_ += n;
    held_ += n;
    return true;
  }
  Wire raw_;
  H2Wire client_;
  size_t body_ = 0;
  size_t held_ = 0;
  std::string last_;
};

TEST(SlowReader, AnAnswerThatWaitsForItsWindowIsNoHeadInTheMaking) {
  RigOptions options;
  options.mode = Mode::Passthrough;
  options.config.limits.header_timeout = std::chrono::milliseconds(100);
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(wide_h2_origin());
  rig.go_to(origin.endpoint());
  SmallWindow client(rig);
  const auto since = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - since > 3 * 100ms; }));
  EXPECT_EQ(client.read_on(), std::pair(size_t{60000}, std::string("END 1")));
  EXPECT_EQ(rig.count(Counter::LimitHeaderTimeout), 0U);
}

TEST(SlowReader, ADrainWaitsForWhatTheWindowHoldsBack) {
  RigOptions options;
  options.mode = Mode::Passthrough;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(wide_h2_origin());
  rig.go_to(origin.endpoint());
  SmallWindow client(rig);
  rig.worker->drain();
  EXPECT_EQ(client.read_on(), std::pair(size_t{60000}, std::string("END 1")));
}

}  // namespace
}  // namespace tapdeck::server

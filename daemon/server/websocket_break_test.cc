// WebSockets that ended without a Close behind much data, replayed to clients that read late: every message, then the
// end that was recorded. And a Close whose sender did not wait for the client's.
#include <gmock/gmock.h>
#include <poll.h>

#include <future>
#include <random>

#include "daemon/server/h2_wire.h"
#include "daemon/server/test_late_reader.h"
#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr size_t kTalkMessages = 201;
// Twice what a narrow client and half of what the sending kernel take; nothing that deflate makes shorter.
constexpr size_t kTalkBytes = 600'000;

std::vector<std::string> long_talk() {
  std::minstd_rand random(7);
  std::vector<std::string> payloads;
  size_t left = kTalkBytes;
  while (left > 0) {
    std::string payload(payloads.size() + 1 < kTalkMessages ? 1000 : left, '\0');
    for (char& byte : payload) byte = static_cast<char>(random() >> 8);
    left -= payload.size();
    payloads.push_back(std::move(payload));
  }
  return payloads;
}

// The payloads of what was read so far.
class Listener {
 public:
  explicit Listener(ws::ReaderOptions options = {ws::From::Server, std::nullopt}) : reader_(options) {}
  void hear(std::string_view bytes) {
    std::vector<ws::Message> messages;
    EXPECT_TRUE(reader_.feed(bytes, messages));
    for (ws::Message& message : messages) heard_.push_back(std::move(message.payload));
  }
  [[nodiscard]] const std::vector<std::string>& heard() const { return heard_; }
  [[nodiscard]] size_t bytes() const {
    return std::accumulate(heard_.begin(), heard_.end(), size_t{0},
                           [](size_t sum, const std::string& one) { return sum + one.size(); });
  }

 private:
  ws::MessageReader reader_;
  std::vector<std::string> heard_;
};

struct Situation {
  std::string name;
  ScriptedOrigin::End end = ScriptedOrigin::End::Reset;
  bool tls = false;
  bool deflate = false;
};

// An origin that says all of long_talk() when it is asked, and ends when the client has it. The rig is in replay
// afterwards.
class LongTape {
 public:
  explicit LongTape(Situation situation, RigOptions options = {})
      : situation_(std::move(situation)), rig(std::move(options)) {
    std::promise<void> heard;
    std::future<void> all_heard = heard.get_future();
    const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
    ScriptedOrigin origin(
        [&](Wire& wire) {
          wire.read_until("\r\n\r\n");
          wire.write(upgrade_response(situation_.deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : ""));
          EXPECT_EQ(wire.read_n(client_text("go").size()), client_text("go"));
          ws::Deflater deflater(ws::Context::Kept, 15);
          for (const std::string& payload : payloads) {
            wire.write(situation_.deflate ? ws::frame(0xc2, deflater.message(payload).value(), false)
                                          : ws::frame(0x82, payload, false));
          }
          all_heard.wait();
          return situation_.end;
        },
        situation_.tls ? context.get() : nullptr);
    rig.go_to(origin.endpoint());
    Wire wire = ask(rig.connect());
    Listener live(reading());
    while (live.bytes() < kTalkBytes) {
      const std::string some = wire.read_some();
      if (some.empty()) break;
      live.hear(some);
    }
    heard.set_value();
    EXPECT_EQ(live.heard(), payloads) << "live";
    EXPECT_EQ(wire.rest(), end()) << "live";
    wire.close();
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    rig.set_mode(Mode::Replay);
  }

  // The handshake done, and the long talk asked for.
  Wire ask(Wire wire) {
    if (situation_.tls) EXPECT_TRUE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa)));
    const std::string offer = situation_.deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "";
    EXPECT_TRUE(wire.write(upgrade_request("/long", offer)));
    EXPECT_THAT(wire.read_until("\r\n\r\n"), HasSubstr(" 101 "));
    EXPECT_TRUE(wire.write(client_text("go")));
    return wire;
  }
  [[nodiscard]] ws::ReaderOptions reading() const {
    ws::ReaderOptions options{ws::From::Server, std::nullopt};
    if (situation_.deflate) options.deflate = ws::Context::Kept;
    return options;
  }
  [[nodiscard]] std::string end() const { return situation_.end == ScriptedOrigin::End::Reset ? "<RST>" : "<EOF>"; }

  const std::vector<std::string> payloads = long_talk();

 private:
  Situation situation_;

 public:
  WorkerRig rig;
};

class WebSocketBreak : public ::testing::TestWithParam<Situation> {};
INSTANTIATE_TEST_SUITE_P(Ends, WebSocketBreak,
                         ::testing::Values(Situation{"Reset", ScriptedOrigin::End::Reset},
                                           Situation{"ResetOfTls", ScriptedOrigin::End::Reset, true},
                                           Situation{"ResetDeflated", ScriptedOrigin::End::Reset, false, true},
                                           Situation{"Fin", ScriptedOrigin::End::Close},
                                           Situation{"FinOfTls", ScriptedOrigin::End::Close, true},
                                           Situation{"FinDeflated", ScriptedOrigin::End::Close, false, true}),
                         [](const auto& info) { return info.param.name; });

TEST_P(WebSocketBreak, AClientThatReadsLateGetsAllOfItAndThenTheEnd) {
  LongTape tape(GetParam());
  Wire wire = tape.ask(connect_narrow(tape.rig.listening()));
  Listener late(tape.reading());
  constexpr size_t kStep = 100'000;
  size_t got = kStep;  // since it last stood still
  for (std::string some = "?"; !some.empty(); got += some.size()) {
    if (got >= kStep) {
      EXPECT_TRUE(is_full(wire.fd()));
      got = 0;
    }
    some = wire.read_some();
    late.hear(some);
  }
  EXPECT_EQ(late.heard().size(), kTalkMessages);
  EXPECT_TRUE(late.heard() == tape.payloads);
  EXPECT_EQ(wire.rest(), tape.end());
  wire.close();
  EXPECT_TRUE(eventually([&] { return tape.rig.outcomes(Mode::Replay, Outcome::Replayed) == 1; }));
}

RigOptions idle_half_a_second() {
  RigOptions options;
  options.config.limits.idle_timeout = 500ms;
  return options;
}

TEST(WebSocketBreak, AClientThatNeverReadsIsGivenUp) {
  LongTape tape({"", ScriptedOrigin::End::Reset}, idle_half_a_second());
  const Wire wire = tape.ask(connect_narrow(tape.rig.listening()));
  EXPECT_TRUE(eventually([&] { return tape.rig.count(Counter::LimitIdleTimeout) == 1; }));
  EXPECT_TRUE(eventually([&] { return tape.rig.active() == 0; }));
}

// The long talk asked for over HTTP/2, by a client whose windows are small.
http::StreamId ask_h2(H2Wire& client) {
  client.request("GET", "/unknown");
  client.until("END 1");  // with the server's SETTINGS, which say that it takes an extended CONNECT
  http::RequestHead head;
  head.method = "CONNECT";
  head.protocol = "websocket";
  head.scheme = "http";
  head.authority = kHost;
  head.target = "/long";
  head.version = http::Version::Http2;
  head.headers.add("sec-websocket-version", "13");
  const auto stream = client.codec().send_request(head, http::EndStream::No);
  EXPECT_TRUE(stream);
  client.flush();
  client.until("HEAD");
  EXPECT_EQ(client.response().status, 200);
  EXPECT_TRUE(client.codec().send_body(stream.value_or(0), client_text("go"), std::nullopt));
  client.flush();
  return stream.value_or(0);
}

http::H2Options small_window() {
  http::H2Options options;
  options.stream_window = 16384;
  return options;
}

TEST(WebSocketBreak, OverHttp2TheStreamIsResetBehindAllOfIt) {
  LongTape tape({"", ScriptedOrigin::End::Reset});
  Wire raw = tape.rig.connect();
  H2Wire client(raw, http::Role::Client, small_window());
  const std::string stream = std::to_string(ask_h2(client));
  Listener late;
  std::string what = client.next();
  for (; !what.starts_with("RESET") && !what.starts_with("E"); what = client.next()) {
    if (what.starts_with("BODY ")) late.hear(std::string_view(what).substr(6 + stream.size()));
  }
  EXPECT_EQ(what.substr(0, 6 + stream.size()), "RESET " + stream);
  EXPECT_EQ(late.heard().size(), kTalkMessages);
  EXPECT_TRUE(late.heard() == tape.payloads);
  raw.close();
}

TEST(WebSocketBreak, OverHttp2AClientThatOpensNoWindowIsGivenUpHoweverBusyItIs) {
  LongTape tape({"", ScriptedOrigin::End::Reset}, idle_half_a_second());
  Wire raw = tape.rig.connect();
  H2Wire client(raw, http::Role::Client, small_window());
  const std::string stream = std::to_string(ask_h2(client));
  client.hold();
  std::string heard;
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(client.codec().send_body(static_cast<http::StreamId>(std::stoul(stream)), ws::frame(0x89, "there?"),
                                         std::nullopt));
    const http::StreamId other = client.request("GET", "/unknown");
    heard = client.until("END " + std::to_string(other));
    return heard.contains("RESET " + stream);
  }));
  raw.close();
  EXPECT_EQ(tape.rig.count(Counter::LimitIdleTimeout), 1U);
}

// Says Close when it is asked, and waits for the client's or not, by the path.
ScriptedOrigin::End close_at_once_or_not(Wire& wire) {
  const bool waits = wire.read_until("\r\n\r\n").contains("GET /waits ");
  wire.write(upgrade_response());
  EXPECT_EQ(wire.read_n(client_text("go").size()), client_text("go"));
  wire.write(close_of(4001, "as asked"));
  if (waits) EXPECT_EQ(wire.read_n(close_of(4001, "", true).size()), close_of(4001, "", true));
  return ScriptedOrigin::End::Close;
}

TEST(WebSocketBreak, AnOriginThatDidNotWaitForTheClientsCloseDoesNotInReplay) {
  WorkerRig rig;
  ScriptedOrigin origin(close_at_once_or_not);
  rig.go_to(origin.endpoint());
  const auto told = [&](const std::string& path) {
    MessageWire client = open_websocket(rig, path);
    client.wire().write(client_text("go"));
    EXPECT_EQ(client.next(), "close 4001 as asked");
    return client;
  };
  {
    MessageWire waited_for = told("/waits");
    waited_for.wire().write(close_of(4001, "", true));
    EXPECT_EQ(waited_for.next(), "<EOF>");
    waited_for.wire().close();
    MessageWire left = told("/leaves");
    EXPECT_EQ(left.next(), "<EOF>");
    left.wire().close();
  }
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  // Were both waited for, this one's wait would end first.
  MessageWire waited_for = told("/waits");
  MessageWire left = told("/leaves");
  EXPECT_EQ(left.next(), "<EOF>");
  pollfd state{waited_for.wire().fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&state, 1, 0), 0) << "its client has not answered yet";
  left.wire().close();
  waited_for.wire().write(close_of(4001, "", true));
  EXPECT_EQ(waited_for.next(), "<EOF>");
  waited_for.wire().close();
}

// Hears the client's Close and drops the connection, or does nothing until the client does, by the path.
ScriptedOrigin::End answer_no_close(Wire& wire) {
  const bool waits = wire.read_until("\r\n\r\n").contains("GET /waits ");
  wire.write(upgrade_response() + text("hi"));
  EXPECT_EQ(wire.read_n(close_of(1000, "", true).size()), close_of(1000, "", true));
  if (waits) wire.rest();
  return ScriptedOrigin::End::Close;
}

TEST(WebSocketBreak, AClientWhoseCloseWasNotAnsweredGetsNoneInReplay) {
  WorkerRig rig;
  ScriptedOrigin origin(answer_no_close);
  rig.go_to(origin.endpoint());
  const auto say_close = [&](const std::string& path) {
    MessageWire client = open_websocket(rig, path);
    EXPECT_EQ(client.next(), "text hi");
    client.wire().write(close_of(1000, "", true));
    return client;
  };
  MessageWire dropped = say_close("/drops"), patient = say_close("/waits");
  EXPECT_EQ(dropped.next(), "<EOF>");
  dropped.wire().close();
  patient.wire().half_close();
  EXPECT_EQ(patient.next(), "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  MessageWire waiting = say_close("/waits"), dropped_again = say_close("/drops");
  EXPECT_EQ(dropped_again.next(), "<EOF>");
  pollfd state{waiting.wire().fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&state, 1, 0), 0) << "it was the client who left";
  waiting.wire().half_close();
  EXPECT_EQ(waiting.next(), "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
}

}  // namespace
}  // namespace tapdeck::server

// WebSockets over HTTP/2 (RFC 8441) in front of an h1 origin: recorded, and replayed over either version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A client in clear with prior knowledge; one WebSocket on its first stream.
class H2Client {
 public:
  explicit H2Client(WorkerRig& rig) : wire_(rig.connect()) {}
  // The status of the answer.
  int open(const std::string& path) {
    http::RequestHead head;
    head.method = "CONNECT";
    head.protocol = "websocket";
    head.scheme = "http";
    head.authority = kHost;
    head.target = path;
    head.version = http::Version::Http2;
    head.headers.add("sec-websocket-version", "13");
    // Refused until the server's SETTINGS have said that it takes an extended CONNECT.
    auto stream = codec_->send_request(head, http::EndStream::No);
    while (!stream && step()) stream = codec_->send_request(head, http::EndStream::No);
    EXPECT_TRUE(stream) << "no extended CONNECT";
    stream_ = stream.value_or(0);
    while (status_ == 0 && step()) {
    }
    return status_;
  }
  [[nodiscard]] std::optional<http::ResetCode> reset() const { return reset_; }
  void say(const std::string& frames) { EXPECT_TRUE(codec_->send_body(stream_, frames)); }
  std::string next() {
    while (read_.empty() && !ended_ && step()) {
    }
    if (read_.empty()) return ended_ ? "<END>" : "<EOF>";
    std::string line = ws::line_of(read_.front());
    read_.erase(read_.begin());
    return line;
  }
  void finish() {
    EXPECT_TRUE(codec_->send_end(stream_, {}));
    while (!ended_ && step()) {
    }
    wire_.close();
  }

 private:
  // One byte further; false when the connection is over.
  bool step() {
    const std::string out = codec_->output().to_string();
    codec_->output().consume(out.size());
    if (!out.empty() && !wire_.write(out)) return false;
    const std::string byte = wire_.read_n(1);
    if (byte.size() != 1) return false;
    codec_->input().append(byte);
    while (true) {
      auto event = codec_->next();
      if (!event) return false;
      if (!*event) return true;
      take(**event);
    }
  }
  void take(const http::Event& event) {
    if (std::holds_alternative<http::HeadReceived>(event)) status_ = codec_->response_head().status;
    if (const auto* body = std::get_if<http::BodyReceived>(&event)) {
      if (status_ == 200) EXPECT_TRUE(reader_.feed(body->bytes, read_));
      codec_->consumed(body->stream, body->bytes.size());
    }
    if (const auto* reset = std::get_if<http::StreamReset>(&event)) reset_ = reset->code;
    if (std::holds_alternative<http::MessageComplete>(event) || std::holds_alternative<http::StreamReset>(event)) {
      ended_ = true;
    }
  }

  Wire wire_;
  std::unique_ptr<http::Codec> codec_ = http::make_h2_codec(http::Role::Client);
  http::StreamId stream_ = 0;
  int status_ = 0;
  bool ended_ = false;
  std::optional<http::ResetCode> reset_;
  ws::MessageReader reader_{{ws::From::Server, std::nullopt}};
  std::vector<ws::Message> read_;
};

// `begun` has been read already.
ScriptedOrigin::Script echo_once(const std::string& begun = {}) {
  return [begun](Wire& wire) {
    const std::string request = begun + wire.read_until("\r\n\r\n");
    EXPECT_TRUE(request.starts_with("GET /chat HTTP/1.1\r\n")) << request;
    std::string lower = request;
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    EXPECT_THAT(lower, HasSubstr("upgrade: websocket"));
    EXPECT_THAT(lower, HasSubstr("sec-websocket-key: "));
    const size_t key = lower.find("sec-websocket-key: ") + 19;
    std::string answer = upgrade_response();
    answer.replace(answer.find(ws::accept_of(kKey)), 28, ws::accept_of(request.substr(key, 24)));
    wire.write(answer);
    MessageWire messages(std::move(wire), {ws::From::Client, std::nullopt});
    messages.wire().write(text("re: " + messages.next().substr(5)));
    EXPECT_THAT(messages.next(), HasSubstr("close 1000"));
    messages.wire().write(close_of(1000));
    wire = std::move(messages.wire());
    return ScriptedOrigin::End::Close;
  };
}

// Opens a WebSocket that echoes, over HTTP/2.
void talk(WorkerRig& rig) {
  H2Client client(rig);
  EXPECT_EQ(client.open("/chat"), 200);
  client.say(client_text("hi"));
  EXPECT_EQ(client.next(), "text re: hi");
  client.say(close_of(1000, "", true));
  EXPECT_EQ(client.next(), "close 1000 ");
  client.finish();
}

TEST(WebSocketH2, RecordedOverH2ItAnswersOverBothVersions) {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(echo_once());
  rig.go_to(origin.endpoint());
  talk(rig);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto recording =
      tls::testing::must(rig.store->get(tls::testing::must(rig.store->list_recordings({})).items.front().id));
  EXPECT_THAT(lines_of(*rig.store, recording),
              ElementsAre("> text hi", "< text re: hi", "> close 1000 ", "< close 1000 "));
  rig.set_mode(Mode::Replay);
  talk(rig);
  MessageWire h1 = open_websocket(rig, "/chat");
  h1.wire().write(client_text("hi"));
  EXPECT_EQ(h1.next(), "text re: hi");
  h1.wire().write(close_of(1000, "", true));
  EXPECT_EQ(h1.next(), "close 1000 ");
  h1.wire().close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
}

// Most servers: HTTP/2 without RFC 8441, and WebSockets over HTTP/1.1.
TEST(WebSocketH2, AnOriginThatHasThemOverHttp1AloneIsAskedSo) {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V2;
  WorkerRig rig(std::move(options));
  std::atomic<int> asked_by_h2{0};
  ScriptedOrigin origin([&](Wire& raw) {
    const std::string begun = raw.read_n(3);
    if (begun == "GET") return echo_once(begun)(raw);
    http::H2Options without_8441;
    without_8441.connect_protocol = false;
    H2Wire wire(raw, http::Role::Server, without_8441);
    wire.codec().input().append(begun);
    for (std::string what = wire.next(); what != "EOF" && !what.starts_with("ERROR"); what = wire.next()) {
      if (what.starts_with("HEAD")) ++asked_by_h2;
      if (what.starts_with("END")) wire.respond(static_cast<http::StreamId>(std::stoul(what.substr(4))), 200, "plain");
    }
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 2; ++i) talk(rig);
  EXPECT_EQ(asked_by_h2, 0);
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/plain");
  EXPECT_EQ(client.until("END"), "HEAD 1 200, BODY 1 plain, END 1") << "HTTP/2 for all else, as before";
  raw.close();
  EXPECT_EQ(asked_by_h2, 1);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  talk(rig);
}

TEST(WebSocketH2, ARefusalOfHttp1WithA200IsNoOpenTunnel) {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string& request) {
    if (request.contains("/forbidden")) return std::string("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    return with_length("hello");
  }));
  rig.go_to(origin.endpoint());
  EXPECT_TRUE(rig.ask(upgrade_request("/h1")).starts_with("HTTP/1.1 200"));
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    if (mode == Mode::Replay) {
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
      origin.stop();
      rig.set_mode(mode);
      EXPECT_THAT(rig.ask(upgrade_request("/h1")), HasSubstr("\r\n\r\nhello"));
      rig.set_mode(mode);
      H2Client by_h2(rig);
      EXPECT_EQ(by_h2.open("/h1"), 502);
      by_h2.finish();
    }
    H2Client client(rig);
    EXPECT_EQ(client.open("/chat"), 502) << to_string(mode);
    client.finish();
    H2Client other(rig);
    EXPECT_EQ(other.open("/forbidden"), 403) << to_string(mode);
    other.finish();
  }
}

// Our key: nobody else can see that it was not accepted.
TEST(WebSocketH2, A101ThatDoesNotAcceptIsNoOpenTunnel) {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V1;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([](Wire& wire) {
    const std::string request = wire.read_until("\r\n\r\n");
    std::string answer = upgrade_response();
    const size_t accept = answer.find("Sec-WebSocket-Accept");
    if (request.contains("/none")) answer.erase(accept, answer.find("\r\n", accept) + 2 - accept);
    wire.write(answer);
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    if (mode == Mode::Replay) {
      Wire h1 = rig.connect();
      EXPECT_TRUE(h1.write(upgrade_request("/none/by-h1")));
      EXPECT_THAT(h1.read_until("\r\n\r\n"), HasSubstr("HTTP/1.1 101 "));
      h1.close();
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 3; }));
      origin.stop();
      rig.set_mode(mode);
      H2Client by_h2(rig);
      EXPECT_EQ(by_h2.open("/none/by-h1"), 502);
      by_h2.finish();
    }
    for (const char* path : {"/none", "/of-another-key"}) {
      H2Client client(rig);
      EXPECT_EQ(client.open(path), 502) << path << ' ' << to_string(mode);
      client.finish();
    }
  }
}

TEST(WebSocketH2, TheCodeOfAResetReachesTheClientAndTheTape) {
  RigOptions options;
  config::Route& route = options.config.routes.emplace_back();
  route.name = "h2";
  route.upstream_http = config::UpstreamHttp::V2;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("HEAD");
    http::ResponseHead head;
    head.status = 200;
    head.version = http::Version::Http2;
    EXPECT_TRUE(wire.codec().send_response(1, head, http::EndStream::No));
    EXPECT_TRUE(wire.codec().send_body(1, text("hi"), std::nullopt));
    wire.flush();
    wire.until("BODY");
    wire.codec().reset(1, http::ResetCode::EnhanceYourCalm);
    wire.flush();
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    if (mode == Mode::Replay) {
      EXPECT_EQ(only_recording(rig).outcome.code, 11U);
      origin.stop();
      rig.set_mode(mode);
    }
    H2Client client(rig);
    EXPECT_EQ(client.open("/chat"), 200);
    EXPECT_EQ(client.next(), "text hi");
    client.say(client_text("ho"));
    EXPECT_EQ(client.next(), "<END>");
    EXPECT_EQ(client.reset(), http::ResetCode::EnhanceYourCalm) << to_string(mode);
  }
}

TEST(WebSocketOverH2, AnOriginThatClosesBeforeItsSettingsIsAnError) {
  RigOptions options;
  config::Route& route = options.config.routes.emplace_back();
  route.name = "h2";
  route.upstream_http = config::UpstreamHttp::V2;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");  // of the preface
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  H2Client client(rig);
  EXPECT_EQ(client.open("/chat"), 502);
}

}  // namespace
}  // namespace tapdeck::server

// HTTP/2 through a whole worker: streams side by side, both directions of translation, what an h2 origin can do wrong.
// In clear by prior knowledge, on both sides unless a route says otherwise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

RigOptions in_mode(Mode mode) {
  RigOptions options;
  options.mode = mode;
  return options;
}

// Serves each request on an h2 connection as `answer` says, until the client is gone.
using H2Answer = std::function<void(H2Wire& wire, http::StreamId stream, const std::string& body)>;
ScriptedOrigin::Script h2_origin(H2Answer answer) {
  return [answer = std::move(answer)](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    std::map<http::StreamId, std::string> bodies;
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(what.find(' ') + 1)));
      if (what.starts_with("BODY")) bodies[stream] += what.substr(what.find(' ', 5) + 1);
      if (what.starts_with("END")) answer(wire, stream, bodies[stream]);
    }
  };
}

TEST(H2, RecordsAndReplaysWithTheOriginGone) {
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin(h2_origin([](H2Wire& wire, http::StreamId stream, const std::string& body) {
    http::Headers trailers;
    trailers.add("x-sum", "1");
    wire.respond(stream, 201, "made of " + body, trailers);
  }));
  rig.go_to(origin.endpoint());
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    if (mode == Mode::Replay) origin.stop();
    rig.set_mode(mode);
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    client.request("POST", "/a", "clay");
    EXPECT_EQ(client.until("END 1"), "HEAD 1 201, BODY 1 made of clay, TRAILERS 1 x-sum, END 1") << to_string(mode);
    raw.close();
  }
}

TEST(H2, OneConnectionToTheOriginServesManyStreamsAtOnce) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  ScriptedOrigin origin(h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) {
    if (wire.request().target != "/2") return;  // the first waits for the second
    wire.respond(stream, 200, "second");
    wire.respond(stream - 2, 200, "first");
  }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/1");
  client.request("GET", "/2");
  const std::string seen = client.until("END 1");
  EXPECT_THAT(seen, HasSubstr("BODY 3 second"));
  EXPECT_THAT(seen, HasSubstr("BODY 1 first, END 1"));
  EXPECT_EQ(origin.connections(), 1U);
  raw.close();
}

TEST(H2, AStreamThatIsNotReadHoldsNobodyUp) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  const std::string large(3 << 20, 'x');
  ScriptedOrigin origin([&large](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
      if (wire.request().target == "/small") {
        wire.respond(stream, 200, "small");
        continue;
      }
      http::ResponseHead head;
      head.status = 200;
      EXPECT_TRUE(wire.codec().send_response(stream, head, http::EndStream::No));
      size_t sent = 0;  // as much as windows and queues on the way take
      while (auto accepted = wire.codec().send_body(stream, std::string_view(large).substr(sent), std::nullopt)) {
        wire.flush();
        if (*accepted == 0) break;
        sent += *accepted;
      }
      EXPECT_LT(sent, large.size()) << "nothing pushes back";
    }
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.hold();
  client.request("GET", "/large");
  EXPECT_THAT(client.until("BODY 1"), HasSubstr("HEAD 1 200"));
  client.request("GET", "/small");
  EXPECT_THAT(client.until("END 3"), HasSubstr("BODY 3 small"));
  raw.close();
}

TEST(H2, AnOriginThatSpeaksHttp1IsTranslated) {
  RigOptions options = in_mode(Mode::Record);
  config::Route route;
  route.name = "old";
  route.upstream_http = config::UpstreamHttp::V1;
  options.config.routes.push_back(route);
  WorkerRig rig(std::move(options));
  std::string seen;
  ScriptedOrigin origin(http_origin([&seen](const std::string& request) {
    seen = request;
    return std::string(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nX-Case: 1\r\n\r\n"
        "3\r\nabc\r\n0\r\nX-T: 2\r\n\r\n");
  }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  http::Headers fields;
  fields.add("cookie", "a=1");
  fields.add("cookie", "b=2");
  client.request("POST", "/x", "hello", fields);
  EXPECT_EQ(client.until("END 1"), "HEAD 1 200, BODY 1 abc, TRAILERS 1 x-t, END 1");
  EXPECT_TRUE(client.response().headers.find("x-case"));
  EXPECT_FALSE(client.response().headers.find("connection"));
  EXPECT_THAT(seen, StartsWith("POST /x HTTP/1.1\r\nHost: api.test\r\n"));
  EXPECT_THAT(seen, HasSubstr("cookie: a=1; b=2\r\n"));
  EXPECT_THAT(seen, HasSubstr("hello"));
  raw.close();
}

TEST(H2, ARefusedStreamGoesOutAgainWithItsBodyAndNothingElseDoes) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  std::atomic<int> tries{0};
  ScriptedOrigin origin(h2_origin([&tries](H2Wire& wire, http::StreamId stream, const std::string& body) {
    if (wire.request().target == "/refused" && ++tries == 1) {
      wire.codec().reset(stream, http::ResetCode::RefusedStream);
      wire.flush();
    } else if (wire.request().target == "/begun") {
      ++tries;
      wire.codec().reset(stream, http::ResetCode::InternalError);
      wire.flush();
    } else {
      wire.respond(stream, 200, "took " + body);
    }
  }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("POST", "/refused", "once");
  EXPECT_EQ(client.until("END 1"), "HEAD 1 200, BODY 1 took once, END 1");
  EXPECT_EQ(tries, 2);
  client.request("POST", "/begun", "never twice");
  EXPECT_THAT(client.until("END 3"), HasSubstr("HEAD 3 502"));
  EXPECT_EQ(tries, 3);
  raw.close();
}

TEST(H2, AResetInTheMiddleOfAResponseIsPassedOnWithItsCode) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  ScriptedOrigin origin(h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) {
    http::ResponseHead head;
    head.status = 200;
    EXPECT_TRUE(wire.codec().send_response(stream, head, http::EndStream::No));
    EXPECT_TRUE(wire.codec().send_body(stream, "part", std::nullopt));
    wire.flush();
    wire.codec().reset(stream, http::ResetCode::EnhanceYourCalm);
    wire.flush();
  }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/");
  EXPECT_EQ(client.until("RESET"), "HEAD 1 200, BODY 1 part, RESET 1 11");
  client.request("GET", "/again");
  EXPECT_THAT(client.until("RESET"), HasSubstr("RESET 3 11")) << "the connection goes on";
  raw.close();
}

TEST(H2, AnOriginThatGoesAwayLosesNoRequest) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  ScriptedOrigin origin(h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) {
    wire.codec().start_drain();  // one request a connection
    wire.respond(stream, 200, "one");
  }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  for (int i = 0; i < 8; ++i) {
    const auto stream = client.request("POST", "/", "body");
    const std::string end = "END " + std::to_string(stream);
    EXPECT_THAT(client.until(end), HasSubstr("BODY " + std::to_string(stream) + " one, " + end));
  }
  raw.close();
}

// GOAWAY with ENHANCE_YOUR_CALM (11) that leaves stream 1 in, then the end: before or inside its answer.
TEST(H2, WhatAGoawayBreaksOffEndsWithItsCodeInRecordAndReplay) {
  const std::string goaway("\0\0\x08\x07\0\0\0\0\0\0\0\0\1\0\0\0\x0b", 17);
  WorkerRig rig(in_mode(Mode::Record));
  ScriptedOrigin origin([&goaway](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("END 1");
    if (wire.request().target == "/part") {
      http::ResponseHead head;
      head.status = 200;
      head.version = http::Version::Http2;
      EXPECT_TRUE(wire.codec().send_response(1, head, http::EndStream::No));
      EXPECT_TRUE(wire.codec().send_body(1, "half", std::nullopt));
      wire.flush();
    }
    raw.write(goaway);
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    if (mode == Mode::Replay) {
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
      origin.stop();
    }
    rig.set_mode(mode);
    Wire raw = rig.connect();
    H2Wire client(raw, http::Role::Client);
    client.request("GET", "/part");
    EXPECT_EQ(client.until("RESET 1"), "HEAD 1 200, BODY 1 half, RESET 1 11") << to_string(mode);
    client.request("POST", "/none", "x");
    EXPECT_THAT(client.until("END 3"), HasSubstr("GOAWAY with code 11")) << to_string(mode);
    raw.close();
  }
}

TEST(H2, AConnectionLostMidStreamIsNeverRepeatedForAPost) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  std::atomic<int> posts{0};
  ScriptedOrigin origin([&posts](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      if (wire.request().method == "POST") {
        ++posts;
        return ScriptedOrigin::End::Reset;
      }
      wire.respond(static_cast<http::StreamId>(std::stoul(what.substr(4))), 200, "got");
    }
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/");
  EXPECT_THAT(client.until("END 1"), HasSubstr("got"));
  client.request("POST", "/", "x");
  EXPECT_THAT(client.until("END 3"), HasSubstr("HEAD 3 502"));
  EXPECT_EQ(posts, 1);
  client.request("GET", "/again");
  EXPECT_THAT(client.until("END 5"), HasSubstr("got")) << "the next request dials anew";
  raw.close();
}

TEST(H2, ARefusedOriginIsA502AndTheNextRequestWorks) {
  WorkerRig rig(in_mode(Mode::Record));
  auto origin = std::make_optional<ScriptedOrigin>(
      h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) { wire.respond(stream, 200, "up"); }));
  rig.go_to(origin->endpoint());
  origin->stop();
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/");
  EXPECT_THAT(client.until("END 1"), HasSubstr("HEAD 1 502"));
  ScriptedOrigin back(
      h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) { wire.respond(stream, 200, "up"); }));
  rig.go_to(back.endpoint());
  raw.close();
  Wire second = rig.connect();
  H2Wire again(second, http::Role::Client);
  again.request("GET", "/");
  EXPECT_THAT(again.until("END 1"), HasSubstr("BODY 1 up"));
  second.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

// Hears one request, answers nothing, and hears how it is taken back.
ScriptedOrigin::Script left_alone(std::promise<void>& asked, std::promise<std::string>& heard) {
  return [&](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("END");
    asked.set_value();
    heard.set_value(wire.until("RESET"));
    return ScriptedOrigin::End::Close;
  };
}

TEST(H2, AClientThatResetsItsStreamEndsItAtTheOriginToo) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  std::promise<void> asked;
  std::promise<std::string> heard;
  ScriptedOrigin origin(left_alone(asked, heard));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  const auto stream = client.request("GET", "/slow");
  asked.get_future().wait();  // a request reset before it is asked is never asked
  client.codec().reset(stream, http::ResetCode::Cancel);
  client.flush();
  EXPECT_THAT(heard.get_future().get(), HasSubstr("RESET 1 8"));
  raw.close();
}

TEST(H2, AClientThatOnlyEndsItsConnectionHasLeft) {
  WorkerRig rig(in_mode(Mode::Record));
  std::promise<void> asked;
  std::promise<std::string> heard;
  ScriptedOrigin origin(left_alone(asked, heard));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/quiet");
  asked.get_future().wait();
  raw.close();  // FIN: what a killed process leaves
  EXPECT_THAT(heard.get_future().get(), HasSubstr("RESET 1 8"));
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

TEST(H2, AnOriginThatBreaksTheProtocolHearsWhyThoughItTalksOn) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  std::promise<std::string> heard;
  ScriptedOrigin origin([&heard](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("END");
    std::string bytes("\0\0\6\4\1\0\0\0\0broken", 15);  // SETTINGS, ACK and payload
    for (int i = 0; i < 10'000; ++i) bytes.append("\0\0\x8\6\0\0\0\0\0pingping", 17);
    raw.write(bytes);
    heard.set_value(wire.until("GOAWAY"));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.request("GET", "/");
  EXPECT_THAT(heard.get_future().get(), HasSubstr("GOAWAY"));
  raw.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

TEST(H2, AFloodIsCountedAndEndsTheConnection) {
  WorkerRig rig(in_mode(Mode::Passthrough));
  ScriptedOrigin origin(
      h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) { wire.respond(stream, 200, "x"); }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  std::string bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  bytes.append("\0\0\0\4\0\0\0\0\0", 9);
  for (int i = 0; i < 2000; ++i) bytes.append("\0\0\x8\6\0\0\0\0\0pingping", 17);
  raw.write(bytes);
  EXPECT_THAT(raw.rest(), HasSubstr("<")) << "closed";
  EXPECT_EQ(rig.count(Counter::H2PingFlood), 1U);
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

TEST(H2, AStreamStalledByItsClientFailsAloneAfterTheIdleTimeout) {
  RigOptions options = in_mode(Mode::Passthrough);
  options.config.limits.idle_timeout = 200ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(
      h2_origin([](H2Wire& wire, http::StreamId stream, const std::string&) { wire.respond(stream, 200, "x"); }));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.open_post("/stalled");
  std::string seen;
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (std::chrono::steady_clock::now() < limit && !seen.contains("HEAD 1 ") && !seen.contains("RESET 1 ")) {
    const auto stream = client.request("GET", "/busy");  // keeps the connection itself from being idle
    seen = client.until("END " + std::to_string(stream));
  }
  EXPECT_TRUE(seen.contains("HEAD 1 408") || seen.contains("RESET 1 ")) << seen;
  raw.close();
}

}  // namespace
}  // namespace tapdeck::server

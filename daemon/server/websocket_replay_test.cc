// WebSockets through a whole worker in replay and hybrid mode: what the client sees is what was recorded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "daemon/server/websocket_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

config::Config with_mode(config::WebSocketMode mode) {
  config::Config config;
  config::Route route;
  route.name = "chat";
  route.websocket.emplace();
  route.websocket->mode = mode;
  config.routes.push_back(route);
  return config;
}

// Greets, echoes two messages compressed when asked for, and leaves with 4000.
ScriptedOrigin::Script talkative(bool compressed = false) {
  return [compressed](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response(compressed ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : ""));
    ws::Deflater deflater(ws::Context::Kept, 15);
    const auto say = [&](const std::string& what) {
      return compressed ? ws::frame(0xc1, deflater.message(what).value(), false) : text(what);
    };
    wire.write(say("hello"));
    MessageWire messages(std::move(wire),
                         {ws::From::Client, compressed ? std::optional(ws::Context::Kept) : std::nullopt});
    for (int i = 0; i < 2; ++i) messages.wire().write(say("re: " + messages.next().substr(5)));
    messages.wire().write(close_of(4000, "enough"));
    EXPECT_THAT(messages.next(), HasSubstr("close"));
    wire = std::move(messages.wire());
    return ScriptedOrigin::End::Close;
  };
}

// Says `words` one by one, each after what the origin had to say; returns everything heard until the end.
std::vector<std::string> converse(MessageWire& client, const std::vector<std::string>& words) {
  std::vector<std::string> heard = {client.next()};
  for (const std::string& word : words) {
    client.wire().write(client_text(word));
    heard.push_back(client.next());
    if (heard.back().starts_with("close")) break;
  }
  while (!heard.back().starts_with("close") && !heard.back().starts_with("<")) heard.push_back(client.next());
  client.wire().write(close_of(1000, "", true));
  heard.push_back(client.next());
  client.wire().close();
  return heard;
}

// With a body it only offers an upgrade: an ordinary request, whose body is part of what it is found by.
TEST(WebSocketReplay, AGetThatOffersOneAndHasABodyIsAnOrdinaryRequest) {
  WorkerRig rig;
  ScriptedOrigin origin(
      http_origin([](const std::string& from) { return with_length("no, " + from.substr(from.size() - 2)); }));
  rig.go_to(origin.endpoint());
  const auto offer = [](const std::string& body) {
    return "GET /chat HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: "
           "2\r\n\r\n" +
           body;
  };
  EXPECT_THAT(rig.ask(offer("ab")), HasSubstr("no, ab"));
  EXPECT_THAT(rig.ask(offer("cd")), HasSubstr("no, cd"));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(offer("cd")), HasSubstr("no, cd"));
  EXPECT_THAT(rig.ask(offer("ab")), HasSubstr("no, ab"));
  EXPECT_THAT(rig.ask(offer("ef")), HasSubstr("not_recorded"));
}

TEST(WebSocketReplay, AConversationIsRepeated) {
  for (const bool compressed : {false, true}) {
    WorkerRig rig;
    const std::string offer = compressed ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "";
    std::vector<std::string> recorded;
    {
      ScriptedOrigin origin(talkative(compressed));
      rig.go_to(origin.endpoint());
      MessageWire client = open_websocket(rig, "/chat", offer);
      recorded = converse(client, {"a", "b"});
      EXPECT_EQ(recorded.back(), "<EOF>");
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    }
    rig.set_mode(Mode::Replay);
    MessageWire client = open_websocket(rig, "/chat", offer);
    EXPECT_EQ(converse(client, {"a", "b"}), recorded);
    MessageWire plain = open_websocket(rig, "/chat");
    EXPECT_EQ(converse(plain, {"a", "b"}).size(), recorded.size()) << "a client without compression";
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
  }
}

TEST(WebSocketReplay, MismatchClosesAndCountsAsAMiss) {
  WorkerRig rig({.config = with_mode(config::WebSocketMode::Bidirectional)});
  ScriptedOrigin origin(talkative());
  rig.go_to(origin.endpoint());
  MessageWire first = open_websocket(rig, "/chat");
  converse(first, {"a", "b"});
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/chat");
  const auto heard = converse(client, {"a", "c"});
  EXPECT_EQ(heard[2], "close 1008 message 2: differs at byte 0");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Missed) == 1; }));
  EXPECT_EQ(rig.count(Counter::MissWebSocket), 1U);
}

// Greets, and tells whoever subscribes to a channel its news.
ScriptedOrigin::Script channels() {
  return [](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + text("hello"));
    MessageWire messages(std::move(wire), {ws::From::Client, std::nullopt});
    const std::string asked = messages.next().substr(5);
    messages.wire().write(text("news of " + asked));
    EXPECT_THAT(messages.next(), HasSubstr("close"));
    messages.wire().write(close_of(1000));
    wire = std::move(messages.wire());
    return ScriptedOrigin::End::Close;
  };
}

void record_channels(WorkerRig& rig, const std::vector<std::string>& names) {
  ScriptedOrigin origin(channels());
  rig.go_to(origin.endpoint());
  for (const std::string& name : names) {
    const size_t before = rig.store->stored_recordings();
    MessageWire client = open_websocket(rig, "/feed");
    client.wire().write(client_text(name));
    EXPECT_EQ(client.next(), "text hello");
    EXPECT_EQ(client.next(), "text news of " + name);
    client.wire().write(close_of(1000, "", true));
    EXPECT_EQ(client.next(), "close 1000 ");
    client.wire().close();
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == before + 1; }));
  }
}

TEST(WebSocketReplay, ConnectionsOfOneUrlMayComeInAnotherOrder) {
  for (const Mode mode : {Mode::Replay, Mode::Hybrid}) {
    WorkerRig rig;
    record_channels(rig, {"A", "B"});
    rig.set_mode(mode);
    MessageWire first = open_websocket(rig, "/feed"), second = open_websocket(rig, "/feed");
    EXPECT_EQ(first.next(), "text hello");
    EXPECT_EQ(second.next(), "text hello");
    first.wire().write(client_text("B"));
    EXPECT_EQ(first.next(), "text news of B");
    second.wire().write(client_text("A"));
    EXPECT_EQ(second.next(), "text news of A");
    second.wire().write(close_of(1000, "", true));
    EXPECT_EQ(second.next(), "close 1000 ");
    first.wire().close();
    second.wire().close();
    EXPECT_TRUE(eventually([&] { return rig.outcomes(mode, Outcome::Replayed) == 2; }));
    EXPECT_EQ(rig.count(Counter::MissWebSocket), 0U);
  }
}

// As GraphQL clients do: all begin with the same message, and are told apart by the next one.
TEST(WebSocketReplay, ConnectionsThatBeginAlikeEachGetTheirOwn) {
  using config::Repeat;
  for (const Repeat repeat : {Repeat::Once, Repeat::InOrder, Repeat::Cycle, Repeat::Latest}) {
    config::Config config = with_mode(config::WebSocketMode::Matched);
    config.routes[0].repeat = repeat;
    WorkerRig rig({.config = config});
    {
      ScriptedOrigin origin([](Wire& wire) {
        wire.read_until("\r\n\r\n");
        wire.write(upgrade_response());
        MessageWire messages(std::move(wire), {ws::From::Client, std::nullopt});
        for (int i = 0; i < 2; ++i) messages.wire().write(text("re: " + messages.next().substr(5)));
        messages.next();
        messages.wire().write(close_of(1000));
        wire = std::move(messages.wire());
        return ScriptedOrigin::End::Close;
      });
      rig.go_to(origin.endpoint());
      for (const std::string name : {"A", "B"}) {
        const size_t before = rig.store->stored_recordings();
        MessageWire client = open_websocket(rig, "/graphql");
        for (const std::string& word : {std::string("init"), name}) {
          client.wire().write(client_text(word));
          EXPECT_EQ(client.next(), "text re: " + word);
        }
        client.wire().write(close_of(1000, "", true));
        EXPECT_EQ(client.next(), "close 1000 ");
        client.wire().close();
        EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == before + 1; }));
      }
    }
    rig.set_mode(Mode::Replay);
    MessageWire x = open_websocket(rig, "/graphql"), y = open_websocket(rig, "/graphql");
    for (MessageWire* client : {&x, &y}) {
      client->wire().write(client_text("init"));
      EXPECT_EQ(client->next(), "text re: init");
    }
    x.wire().write(client_text("B"));
    EXPECT_EQ(x.next(), "text re: B");
    y.wire().write(client_text("A"));
    EXPECT_EQ(y.next(), "text re: A");
    x.wire().close();
    y.wire().close();
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Replayed) == 2; }));
    EXPECT_EQ(rig.count(Counter::MissWebSocket), 0U);
  }
}

TEST(WebSocketReplay, WhatNoRecordingOfTheUrlHasIsAMissThatNamesTheOneThatPlayed) {
  WorkerRig rig;
  record_channels(rig, {"A1", "B"});
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/feed");
  EXPECT_EQ(client.next(), "text hello");
  client.wire().write(client_text("A2"));
  EXPECT_EQ(client.next(), "close 1008 message 1: differs at byte 1");
  client.wire().close();
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Replay, Outcome::Missed) == 1; }));
}

TEST(WebSocketReplay, AtTheRecordedPaceTheEndComesWhenItCame) {
  constexpr std::chrono::milliseconds kPause{150};
  for (const bool with_close : {true, false}) {
    config::Config config = with_mode(config::WebSocketMode::Matched);
    config.routes[0].websocket->pace = config::WebSocketPace::Recorded;
    WorkerRig rig({.config = config});
    const auto end = with_close ? "close 1001 " : "<EOF>";
    {
      ScriptedOrigin origin([&](Wire& wire) {
        wire.read_until("\r\n\r\n");
        wire.write(upgrade_response() + text("hello"));
        std::this_thread::sleep_for(kPause);  // lint:allow: the pause is what is recorded
        if (with_close) wire.write(close_of(1001));
        return ScriptedOrigin::End::Close;
      });
      rig.go_to(origin.endpoint());
      MessageWire client = open_websocket(rig, "/late");
      EXPECT_EQ(client.next(), "text hello");
      EXPECT_EQ(client.next(), end);
      client.wire().close();
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
    }
    rig.set_mode(Mode::Replay);
    const auto began = std::chrono::steady_clock::now();
    MessageWire client = open_websocket(rig, "/late");
    EXPECT_EQ(client.next(), "text hello");
    EXPECT_EQ(client.next(), end);
    EXPECT_GE(std::chrono::steady_clock::now() - began, kPause);
    client.wire().close();
  }
}

TEST(WebSocketReplay, BidirectionalConnectionsKeepTheRecordedOrder) {
  WorkerRig rig({.config = with_mode(config::WebSocketMode::Bidirectional)});
  record_channels(rig, {"A", "B"});
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/feed");
  EXPECT_EQ(client.next(), "text hello");
  client.wire().write(client_text("B"));
  EXPECT_EQ(client.next(), "close 1008 message 1: differs at byte 0");
  client.wire().close();
}

TEST(WebSocketReplay, PingsAreAnsweredAndTheClientMayCloseEarly) {
  WorkerRig rig;
  ScriptedOrigin origin(talkative());
  rig.go_to(origin.endpoint());
  MessageWire first = open_websocket(rig, "/chat");
  converse(first, {"a", "b"});
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/chat");
  EXPECT_EQ(client.next(), "text hello");
  client.wire().write(ws::frame(0x89, "there?"));
  EXPECT_EQ(client.next(), "pong there?");
  client.wire().write(close_of(1001, "going", true));
  EXPECT_EQ(client.next(), "close 4000 enough") << "with the code the origin used";
  EXPECT_EQ(client.next(), "<EOF>");
  client.wire().close();
  MessageWire rude = open_websocket(rig, "/chat");
  rude.wire().write(ws::frame(0xf1, "reserved bits"));
  EXPECT_EQ(rude.next(), "text hello");
  EXPECT_THAT(rude.next(), HasSubstr("close "));
  rude.wire().close();
}

TEST(WebSocketReplay, APlainGetOfTheSamePathIsAnotherRequest) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    const bool upgrade = wire.read_until("\r\n\r\n").contains("Upgrade: websocket");
    wire.write(upgrade ? upgrade_response() + close_of(1000) : with_length("the page"));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const std::string page = "GET / HTTP/1.1\r\nHost: " + std::string(kHost) + "\r\nConnection: close\r\n\r\n";
  EXPECT_THAT(rig.ask(page), HasSubstr("the page"));
  MessageWire client = open_websocket(rig, "/");
  EXPECT_EQ(client.next(), "close 1000 ");
  client.wire().close();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; }));
  rig.set_mode(Mode::Replay);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(rig.ask(page), HasSubstr("the page"));
    MessageWire again = open_websocket(rig, "/");
    EXPECT_EQ(again.next(), "close 1000 ");
    again.wire().close();
  }
}

TEST(WebSocketReplay, AnOriginThatResetIsReplayedAsThat) {
  WorkerRig rig;
  {
    ScriptedOrigin origin([](Wire& wire) {
      wire.read_until("\r\n\r\n");
      wire.write(upgrade_response() + text("so far"));
      EXPECT_EQ(wire.read_n(client_text("go").size()), client_text("go"));
      return ScriptedOrigin::End::Reset;
    });
    rig.go_to(origin.endpoint());
    MessageWire client = open_websocket(rig, "/r");
    EXPECT_EQ(client.next(), "text so far");
    client.wire().write(client_text("go"));
    EXPECT_EQ(client.next(), "<RST>");
    EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  }
  rig.set_mode(Mode::Replay);
  MessageWire client = open_websocket(rig, "/r");
  EXPECT_EQ(client.next(), "text so far");
  client.wire().write(client_text("go"));
  EXPECT_EQ(client.next(), "<RST>");
}

TEST(WebSocketReplay, AClientThatLeftWithoutCloseIsWaitedForAgain) {
  for (const bool by_reset : {false, true}) {
    WorkerRig rig;
    {
      ScriptedOrigin origin([](Wire& wire) {
        wire.read_until("\r\n\r\n");
        wire.write(upgrade_response() + text("hello"));
        wire.rest();
        return ScriptedOrigin::End::Close;
      });
      rig.go_to(origin.endpoint());
      MessageWire client = open_websocket(rig, "/left");
      EXPECT_EQ(client.next(), "text hello");
      by_reset ? client.wire().reset() : client.wire().close();
      EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
      const store::Recording recording = only_recording(rig);
      EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Complete);
      EXPECT_EQ(recording.outcome.reason, "client_gone");
    }
    rig.set_mode(Mode::Replay);
    MessageWire client = open_websocket(rig, "/left");
    EXPECT_EQ(client.next(), "text hello");
    client.wire().write(ws::frame(0x89, "there?"));
    EXPECT_EQ(client.next(), "pong there?") << "it was the client who left, not the origin";
    client.wire().half_close();
    EXPECT_EQ(client.next(), "<EOF>");
  }
}

TEST(WebSocketReplay, AHandshakeThatIsNoneIsRefused) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(upgrade_response() + close_of(1000));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  MessageWire client = open_websocket(rig, "/");
  EXPECT_EQ(client.next(), "close 1000 ");
  client.wire().close();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Replay);
  std::string bad = upgrade_request("/");
  bad.replace(bad.find(kKey), kKey.size(), "short");
  EXPECT_THAT(rig.ask(bad), HasSubstr("HTTP/1.1 400 "));
}

}  // namespace
}  // namespace tapdeck::server

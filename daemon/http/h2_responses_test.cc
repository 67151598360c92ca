// The client's side as bytes: responses that are shown, refused, cut off; what GOAWAY and SETTINGS say about streams.
#include <gtest/gtest.h>

#include "daemon/http/h2_loopback.h"

namespace tapdeck::http {
namespace {

struct Client {
  std::unique_ptr<Codec> codec;
  H2Log log;
  explicit Client(const Limits& limits = {}, const H2Options& options = {})
      : codec(make_h2_codec(Role::Client, limits, "https", options)), log(*codec, Role::Client) {}

  Result<StreamId> ask(std::string_view method = "GET", EndStream end = EndStream::Yes) {
    return codec->send_request(h2_request(method, "/"), end);
  }
  std::string feed(std::string_view bytes) {
    codec->input().append(bytes);
    log.drive();
    return log.take();
  }
  std::string written() {
    const std::string frames = frames_of(codec->output().to_string());
    codec->output().clear();
    return frames;
  }
};

// Events and then frames, after one request with `method` and the peer's SETTINGS.
std::string answered(std::string_view bytes, std::string_view method, size_t cut) {
  Client client;
  EXPECT_TRUE(client.ask(method));
  client.feed(settings() + settings_ack());
  client.written();
  std::string text = client.feed(bytes.substr(0, cut));
  text += client.feed(bytes.substr(cut));
  const std::string frames = client.written();
  client.log.drive();
  return text + client.log.take() + frames;
}
std::string answered(std::string_view bytes, std::string_view method = "GET") {
  const std::string whole = answered(bytes, method, bytes.size());
  for (size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_EQ(answered(bytes, method, cut), whole) << "cut at " << cut;
  return whole;
}

const FieldList kOk = {{":status", "200"}};

TEST(H2Responses, AreShownWithInformationalOnesAndTrailers) {
  EXPECT_EQ(
      answered(headers(1, {{":status", "103"}, {"link", "x"}}, kEndHeadersFlag) +
               headers(1, kOk + FieldList{{"a", "b"}}, kEndHeadersFlag) + data(1, "x") + headers(1, {{"t", "u"}})),
      "info 1 103\n  link: x\nhead 1 200\n  a: b\nbody 1 x\ntrailers 1\n  t: u\ncomplete 1\n");
  EXPECT_EQ(answered(headers(1, {{":status", "204"}})), "head 1 204 end\ncomplete 1\n");
  EXPECT_EQ(answered(headers(1, kOk + FieldList{{"content-length", "99"}}), "HEAD"),
            "head 1 200 end\n  content-length: 99\ncomplete 1\n");
}

TEST(H2Responses, MalformedOnesAreReset) {
  const std::string reset = "reset 1 1\nRST_STREAM 1 1\n";
  EXPECT_EQ(answered(headers(1, {{"a", "b"}})), reset);
  EXPECT_EQ(answered(headers(1, {{":status", "20"}})), reset);
  EXPECT_EQ(answered(headers(1, {{":status", "099"}})), reset);
  EXPECT_EQ(answered(headers(1, {{":status", "101"}}, kEndHeadersFlag)), reset);
  EXPECT_EQ(answered(headers(1, {{":status", "100"}})), reset);  // ends without a final response
  EXPECT_EQ(answered(headers(1, kOk + FieldList{{":path", "/"}})), reset);
  EXPECT_EQ(answered(headers(1, kOk + FieldList{{"connection", "x"}})), reset);
  EXPECT_EQ(answered(headers(1, kOk + FieldList{{"a", "x\r\ny: z"}})), reset);
  EXPECT_EQ(answered(headers(1, kOk + FieldList{{"content-length", "9"}})), reset);
}

TEST(H2Responses, FramesForNoStreamOfOursBreakTheConnection) {
  EXPECT_EQ(answered(headers(3, kOk)), "error protocol\nGOAWAY 0 1\n");
  EXPECT_EQ(answered(data(2, "x")), "error protocol\nGOAWAY 0 1\n");
  EXPECT_EQ(answered(data(1, "before a head")), "error protocol\nGOAWAY 0 1\n");
  EXPECT_EQ(answered(headers(1, kOk) + data(1, "x")), "head 1 200 end\ncomplete 1\nerror protocol\nGOAWAY 0 5\n");
  EXPECT_EQ(answered(frame(NGHTTP2_PUSH_PROMISE, kEndHeadersFlag, 1, big_endian(2) + block(get()))),
            "error protocol\nGOAWAY 0 1\n");
}

TEST(H2Responses, WhatFollowsAResetOfThePeersIsIgnored) {
  const std::string ended = rst_stream(1, ResetCode::Cancel);
  EXPECT_EQ(answered(ended + headers(1, kOk)), "reset 1 8\n");
  EXPECT_EQ(answered(ended + headers(1, kOk, kEndHeadersFlag) + data(1, "x", kEndStreamFlag)), "reset 1 8\n");
}

TEST(H2Responses, AHeadOverTheLimitResetsItsStream) {
  Client client({.head_bytes = 500, .headers = 10});
  ASSERT_TRUE(client.ask());
  EXPECT_EQ(client.feed(settings() + headers(1, kOk + FieldList{{"a", std::string(600, 'x')}}, kEndHeadersFlag)),
            "reset 1 11\n");
}

TEST(H2Responses, AServerMayDeclineTheRestOfARequestAfterItsAnswer) {
  Client client;
  ASSERT_TRUE(client.ask("POST", EndStream::No));
  EXPECT_EQ(client.feed(settings() + headers(1, kOk) + rst_stream(1, ResetCode::NoError)),
            "head 1 200 end\ncomplete 1\n");
  const auto late = client.codec->send_body(1, "x");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::Reset);
  EXPECT_TRUE(client.codec->is_idle());
}

TEST(H2Responses, GoawayRefusesTheStreamsAboveItsLast) {
  Client client;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.ask());
  EXPECT_EQ(client.feed(settings() + goaway(1, ResetCode::EnhanceYourCalm)), "going-away 1 11\nreset 3 7\nreset 5 7\n");
  EXPECT_TRUE(client.codec->must_close());
  EXPECT_EQ(client.codec->streams_left(), 0u);
  EXPECT_EQ(client.ask().error().code, Code::Exhausted);
  EXPECT_EQ(client.feed(headers(1, kOk)), "head 1 200 end\ncomplete 1\n");  // what was taken is still answered
  EXPECT_TRUE(client.codec->is_idle());
}

TEST(H2Responses, OnlyAsManyRequestsAsThePeerTakes) {
  Client client;
  EXPECT_EQ(client.codec->streams_left(), 100u);  // assumed until it says
  client.feed(settings({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}}));
  EXPECT_EQ(client.codec->streams_left(), 2u);
  ASSERT_TRUE(client.ask());
  ASSERT_TRUE(client.ask());
  EXPECT_EQ(client.ask().error().code, Code::Exhausted);
  client.feed(headers(1, kOk));
  EXPECT_EQ(client.codec->streams_left(), 1u);
  EXPECT_EQ(*client.ask(), 5u);
}

TEST(H2Responses, NotMoreAtATimeThanWeWantWhateverThePeerTakes) {
  H2Options options;
  options.max_streams = 3;
  H2Loopback wire(SIZE_MAX, {}, options);
  EXPECT_EQ(wire.client().streams_left(), 3u);
  wire.exchange();
  EXPECT_EQ(wire.client().streams_left(), 3u);
  ASSERT_TRUE(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes));
  EXPECT_EQ(wire.client().streams_left(), 2u);
}

TEST(H2Responses, ExtendedConnectWaitsForThePeersWord) {
  RequestHead connect = h2_request("CONNECT", "/chat");
  connect.protocol = "websocket";
  Client client;
  EXPECT_EQ(client.codec->send_request(connect, EndStream::No).error().code, Code::Unsupported);
  client.feed(settings({{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}}));
  EXPECT_TRUE(client.codec->takes_extended_connect());
  ASSERT_TRUE(client.codec->send_request(connect, EndStream::No));
  EXPECT_EQ(client.feed(headers(1, kOk, kEndHeadersFlag) + data(1, "frame")), "head 1 200\nbody 1 frame\n");
}

TEST(H2Responses, AnH1UpgradeTravelsAsExtendedConnectAndBack) {
  H2Loopback wire;
  wire.exchange();
  RequestHead upgrade;
  upgrade.method = "GET";
  upgrade.target = "/chat";
  upgrade.headers.add("Host", "example.test");
  upgrade.headers.add("Upgrade", "websocket");
  upgrade.headers.add("Connection", "Upgrade");
  upgrade.headers.add("Sec-WebSocket-Key", "k");
  ASSERT_TRUE(wire.client().send_request(upgrade, EndStream::Yes));  // in h1 it has no body
  wire.exchange();
  EXPECT_EQ(wire.server_log().take(), "head 1 CONNECT /chat https example.test websocket\n");
  ResponseHead accepted;
  accepted.status = 101;
  accepted.headers.add("Upgrade", "websocket");
  accepted.headers.add("Sec-WebSocket-Accept", "s");
  ASSERT_TRUE(wire.server().send_response(1, accepted, EndStream::No));
  ASSERT_TRUE(wire.server().send_body(1, "to client"));
  ASSERT_TRUE(wire.client().send_body(1, "to server"));
  ASSERT_TRUE(wire.client().send_end(1, {}));  // a half-close
  wire.exchange();
  EXPECT_EQ(wire.client_log().take(), "head 1 200\nbody 1 to client\n");
  EXPECT_EQ(wire.server_log().take(), "body 1 to server\ncomplete 1\n");
  ASSERT_TRUE(wire.server().send_end(1, {}));
  wire.exchange();
  EXPECT_TRUE(wire.client().is_idle());
}

TEST(H2Responses, AConnectionThatEndsWithOpenStreamsIsTruncated) {
  Client client;
  client.feed(settings() + settings_ack());
  EXPECT_TRUE(client.codec->end_of_input());
  Client asked;
  ASSERT_TRUE(asked.ask());
  const auto ended = asked.codec->end_of_input();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::Truncated);
  Client half;
  half.feed(settings() + ping().substr(0, 5));
  EXPECT_FALSE(half.codec->end_of_input());
}

TEST(H2Responses, AWriterDoesNotWaitForAPeerThatHasGone) {
  Client client;
  ASSERT_TRUE(client.ask("POST", EndStream::No));
  client.feed(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  ASSERT_EQ(*client.codec->send_body(1, std::string(100000, 'x')), H2Codec::kStreamQueue);
  EXPECT_EQ(client.codec->send_capacity(1), 0u);
  EXPECT_EQ(*client.codec->send_body(1, "x"), 0u);
  ignore(client.codec->end_of_input(), "truncated");
  EXPECT_EQ(client.codec->send_body(1, "x").error().code, Code::Closed);
}

TEST(H2Responses, ARequestThatPromisedMoreThanItSentIsReset) {
  Client client;
  client.feed(settings());
  ASSERT_TRUE(client.codec->send_request(h2_request("POST", "/", {{"content-length", "5"}}), EndStream::No));
  EXPECT_FALSE(client.codec->send_body(1, "123456"));
  ASSERT_TRUE(client.codec->send_body(1, "123"));
  client.written();
  EXPECT_FALSE(client.codec->send_end(1, {}));
  EXPECT_EQ(client.written(), "RST_STREAM 1 2\n");
}

}  // namespace
}  // namespace tapdeck::http

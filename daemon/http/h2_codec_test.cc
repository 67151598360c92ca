// A client and a server codec against each other: what one is told to send is what the other is told it received.
#include "daemon/http/h2_codec.h"

#include <gtest/gtest.h>

#include "daemon/http/h2_loopback.h"

namespace tapdeck::http {
namespace {

// Sends all of `bytes` and ends the message, letting bytes move whenever windows are shut.
void send_all(H2Loopback& wire, Codec& from, StreamId stream, std::string_view bytes) {
  size_t stuck = 0;
  while (!bytes.empty() && stuck < 3) {
    const auto taken = from.send_body(stream, bytes);
    ASSERT_TRUE(taken) << taken.error().detail;
    stuck = *taken == 0 ? stuck + 1 : 0;
    bytes.remove_prefix(*taken);
    wire.exchange();
  }
  EXPECT_TRUE(bytes.empty()) << bytes.size() << " bytes never accepted";
  EXPECT_TRUE(from.send_end(stream, {}));
}

class AnyCut : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(H2Loopback, AnyCut, testing::Values(1, 7, 9, 10, 1000, SIZE_MAX));

TEST_P(AnyCut, ARequestAndItsResponseArriveAsTheyWereSent) {
  H2Loopback wire(GetParam());
  const auto stream = wire.client().send_request(
      h2_request("POST", "/a?b=c", {{"content-type", "text/plain"}, {"x-a", "1"}, {"x-a", "2"}}), EndStream::No);
  ASSERT_TRUE(stream);
  EXPECT_EQ(*stream, 1u);
  ASSERT_TRUE(wire.client().send_body(1, "hello "));
  ASSERT_TRUE(wire.client().send_body(1, "world"));
  Headers trailers;
  trailers.add("x-sum", "9");
  ASSERT_TRUE(wire.client().send_end(1, trailers));
  wire.exchange();
  EXPECT_EQ(wire.server_log().take(),
            "head 1 POST /a?b=c https example.test\n  content-type: text/plain\n  x-a: 1\n  x-a: 2\n"
            "body 1 hello world\ntrailers 1\n  x-sum: 9\ncomplete 1\n");
  ASSERT_TRUE(wire.server().send_informational(1, h2_response(103, {{"link", "</x>"}})));
  ASSERT_TRUE(wire.server().send_response(1, h2_response(200, {{"content-length", "4"}}), EndStream::No));
  ASSERT_TRUE(wire.server().send_body(1, "body"));
  ASSERT_TRUE(wire.server().send_end(1, trailers));
  wire.exchange();
  EXPECT_EQ(
      wire.client_log().take(),
      "info 1 103\n  link: </x>\nhead 1 200\n  content-length: 4\nbody 1 body\ntrailers 1\n  x-sum: 9\ncomplete 1\n");
  EXPECT_TRUE(wire.client().is_idle());
  EXPECT_TRUE(wire.server().is_idle());
}

TEST_P(AnyCut, InformationalGoesOutWithoutTheLengthItSays) {
  H2Loopback wire(GetParam());
  ASSERT_TRUE(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes));
  wire.exchange();
  ASSERT_TRUE(wire.server().send_informational(1, h2_response(103, {{"link", "</x>"}, {"content-length", "0"}})));
  ASSERT_TRUE(wire.server().send_informational(1, h2_response(103, {{"content-length", "1"}})));
  ASSERT_TRUE(wire.server().send_response(1, h2_response(204), EndStream::Yes));
  wire.exchange();
  EXPECT_EQ(wire.client_log().take(), "info 1 103\n  link: </x>\ninfo 1 103\nhead 1 204 end\ncomplete 1\n");
}

TEST_P(AnyCut, InterleavedStreamsKeepApart) {
  H2Loopback wire(GetParam());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
  for (int turn = 0; turn < 3; ++turn) {
    for (const StreamId stream : {5u, 1u, 3u}) {
      ASSERT_TRUE(wire.client().send_body(stream, std::string(3, static_cast<char>('0' + stream))));
    }
    wire.exchange();
  }
  for (const StreamId stream : {3u, 1u, 5u}) ASSERT_TRUE(wire.client().send_end(stream, {}));
  wire.exchange();
  const std::string log = wire.server_log().take();
  EXPECT_NE(log.find("body 1 111111111\nbody 3 333333333\nbody 5 555555555\n"), std::string::npos) << log;
}

TEST(H2Loopback, TheEndOfAShortBodyTravelsWithIt) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes));
  wire.exchange();
  ASSERT_TRUE(wire.server().send_response(1, h2_response(200), EndStream::No));
  ASSERT_TRUE(wire.server().send_body(1, "hello"));
  ASSERT_TRUE(wire.server().send_end(1, {}));
  EXPECT_EQ(frames_of(wire.server().output().to_string()), "HEADERS 1\nDATA 1 5 end\n");
}

TEST(H2Loopback, ABodyLargerThanEveryWindowArrivesWhole) {
  H2Options tiny;
  tiny.stream_window = 1000;
  tiny.connection_window = 65535;
  H2Loopback wire(SIZE_MAX, tiny, tiny);
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
  send_all(wire, wire.client(), 1, std::string(300000, 'x'));
  wire.exchange();
  EXPECT_NE(wire.server_log().take().find("body 1 300000 bytes\ncomplete 1"), std::string::npos);
}

TEST(H2Loopback, AnUnreadBodyStopsItsSenderAndNoOther) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/slow"), EndStream::No));
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/fast"), EndStream::No));
  wire.exchange();
  wire.server_log().consume = false;
  const std::string much(1 << 20, 'x');
  size_t accepted = 0;
  for (int i = 0; i < 4; ++i) {
    const auto taken = wire.client().send_body(1, std::string_view(much).substr(0, 1 << 18));
    ASSERT_TRUE(taken);
    accepted += *taken;
    wire.exchange();
  }
  EXPECT_EQ(wire.server_log().held[1], H2Options().stream_window);
  EXPECT_EQ(accepted, H2Options().stream_window + H2Codec::kStreamQueue);
  wire.server_log().consume = true;
  send_all(wire, wire.client(), 3, much);
  wire.exchange();
  EXPECT_NE(wire.server_log().take().find("complete 3"), std::string::npos);
}

TEST(H2Loopback, ConsumingOpensTheWindowAgain) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
  wire.exchange();
  wire.server_log().consume = false;
  const std::string much(1 << 20, 'x');
  ASSERT_TRUE(wire.client().send_body(1, much));
  wire.exchange();
  EXPECT_EQ(*wire.client().send_body(1, much), 0u);
  wire.server().consumed(1, wire.server_log().held[1]);
  wire.exchange();
  EXPECT_GT(*wire.client().send_body(1, much), 0u);
}

TEST(H2Loopback, EveryResetCodePassesThroughUnchanged) {
  for (const uint32_t code : {0u, 1u, 2u, 3u, 5u, 7u, 8u, 11u, 13u, 0xabcdu}) {
    H2Loopback wire;
    ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
    wire.exchange();
    wire.server_log().take();
    wire.client().reset(1, static_cast<ResetCode>(code));
    wire.exchange();
    EXPECT_EQ(wire.server_log().take(), "reset 1 " + std::to_string(code) + "\n");
    EXPECT_TRUE(wire.server().is_idle());
    ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
    wire.exchange();
    wire.server().reset(3, static_cast<ResetCode>(code));
    wire.exchange();
    EXPECT_EQ(wire.client_log().take(), "reset 3 " + std::to_string(code) + "\n");
  }
}

TEST(H2Loopback, ADrainingServerFinishesWhatItTookAndRefusesTheRest) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes));
  wire.exchange();
  wire.server().start_drain();
  EXPECT_FALSE(wire.server().must_close());
  wire.exchange();
  EXPECT_TRUE(wire.server().must_close());
  EXPECT_FALSE(wire.server().is_idle());
  const std::string log = wire.client_log().take();
  EXPECT_NE(log.find("going-away 2147483647 0\n"), std::string::npos) << log;
  EXPECT_NE(log.find("going-away 1 0\n"), std::string::npos) << log;
  const auto late = wire.client().send_request(h2_request("GET", "/"), EndStream::Yes);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::Exhausted);
  ASSERT_TRUE(wire.server().send_response(1, h2_response(204), EndStream::Yes));
  wire.exchange();
  EXPECT_EQ(wire.client_log().take(), "head 1 204 end\ncomplete 1\n");
  EXPECT_TRUE(wire.server().is_idle());
}

TEST(H2Loopback, TheServerSaysHowManyStreamsItTakes) {
  H2Options options;
  options.max_streams = 777;
  H2Loopback wire(SIZE_MAX, options);
  EXPECT_NE(wire.server().output().to_string().find(big_endian(3, 2) + big_endian(777)), std::string::npos);
}

TEST(H2Loopback, AServerThatClosesNowSaysWhichStreamsItTook) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("GET", "/"), EndStream::Yes));
  wire.exchange();
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/on-its-way"), EndStream::Yes));
  wire.server().start_drain();
  EXPECT_EQ(frames_of(wire.server().output().to_string()), "GOAWAY 2147483647 0\nPING\n");
  wire.server().start_drain();
  wire.server().start_drain();
  EXPECT_TRUE(wire.server().must_close());
  EXPECT_EQ(frames_of(wire.server().output().to_string()), "GOAWAY 2147483647 0\nPING\nGOAWAY 1 0\n");
  wire.server_log().take();
  wire.exchange();
  EXPECT_EQ(wire.server_log().take(), "");  // too late for the second request
  const std::string log = wire.client_log().take();
  EXPECT_NE(log.find("reset 3 7\n"), std::string::npos) << log;  // and its client may repeat it
}

TEST(H2Loopback, ARequestThatIsNoLongerReadIsStoppedBehindItsAnswer) {
  H2Loopback wire;
  ASSERT_TRUE(wire.client().send_request(h2_request("POST", "/"), EndStream::No));
  wire.exchange();
  ASSERT_TRUE(wire.server().send_response(1, h2_response(413), EndStream::No));
  ASSERT_TRUE(wire.server().send_body(1, "too large"));
  ASSERT_TRUE(wire.server().send_end(1, {}));
  wire.server().reset(1, ResetCode::NoError);
  EXPECT_EQ(frames_of(wire.server().output().to_string()), "HEADERS 1\nDATA 1 9 end\nRST_STREAM 1 0\n");
  wire.exchange();
  EXPECT_EQ(wire.client_log().take(), "head 1 413\nbody 1 too large\ncomplete 1\n");
  EXPECT_FALSE(wire.client().send_body(1, "more"));
  EXPECT_TRUE(wire.client().is_idle());
  EXPECT_TRUE(wire.server().is_idle());
}

}  // namespace
}  // namespace tapdeck::http

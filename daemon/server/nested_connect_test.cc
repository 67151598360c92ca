// CONNECT as a stream of HTTP/2, and as a later request over HTTP/1.1, through a whole worker.
#include <future>

#include "daemon/server/h2_wire.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

// A client of the explicit listener that speaks HTTP/2 to it in clear.
class H2Client {
 public:
  explicit H2Client(const ProxyRig& proxy) : wire_(proxy.connect()), h2(wire_, http::Role::Client) {}

  http::StreamId connect_to(const std::string& authority) {
    http::RequestHead head;
    head.method = "CONNECT";
    head.target = head.authority = authority;
    head.version = http::Version::Http2;
    auto stream = h2.codec().send_request(head, http::EndStream::No);
    EXPECT_TRUE(stream);
    h2.flush();
    return stream.value_or(0);
  }
  void write(http::StreamId stream, std::string_view bytes) {
    EXPECT_TRUE(h2.codec().send_body(stream, bytes, std::nullopt));
    h2.flush();
  }
  // What comes until all streams' bodies hold `end`.
  std::string until_holds(std::string_view end) {
    std::string all;
    while (!all.contains(end)) {
      const std::string what = h2.next();
      all += what + '\n';
      if (what == "EOF" || what.starts_with("ERROR")) break;
    }
    return all;
  }
  void close() { wire_.close(); }

 private:
  Wire wire_;

 public:
  H2Wire h2;
};

TEST(NestedConnect, AStreamIsATunnelWhoseRequestsAreRecordedAndReplayed) {
  ProxyRig proxy;
  const std::string get = "GET /c HTTP/1.1\r\nHost: web.test\r\n\r\n";
  auto origin = std::make_unique<ScriptedOrigin>(http_origin([](const std::string&) { return with_length("clear"); }));
  const std::string authority = "web.test:" + port_of(*origin);
  const auto ask = [&] {
    H2Client client(proxy);
    const http::StreamId stream = client.connect_to(authority);
    EXPECT_EQ(client.h2.until("HEAD"), "HEAD 1 200");
    client.write(stream, get);
    return client.until_holds("clear");
  };
  EXPECT_EQ(ask(), "BODY 1 " + with_length("clear") + "\n");
  EXPECT_EQ(origin->connections(), 1U) << "what CONNECT dialled is what the request uses";
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
  origin->stop();
  proxy.rig.set_mode(Mode::Replay);
  EXPECT_EQ(ask(), "BODY 1 " + with_length("clear") + "\n");
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
}

TEST(NestedConnect, StreamsDoNotDisturbEachOtherAndEndsArePassedOn) {
  ProxyRig proxy(Mode::Record, {}, {"*.test"});
  ScriptedOrigin echo([](Wire& wire) {
    const std::string line = wire.read_until("\n");
    wire.write("you said " + line);
    EXPECT_EQ(wire.rest(), "<EOF>") << "the end of the client's direction";
    wire.write("bye\n");
    return ScriptedOrigin::End::Close;
  });
  ScriptedOrigin rude([](Wire& wire) {
    wire.read_until("\n");
    wire.write("half");
    return ScriptedOrigin::End::Reset;
  });
  H2Client client(proxy);
  const http::StreamId first = client.connect_to("web.test:" + port_of(echo));
  const http::StreamId second = client.connect_to("web.test:" + port_of(rude));
  client.until_holds("HEAD 3 200");
  client.write(second, "x\n");
  EXPECT_THAT(client.until_holds("RESET 3"), HasSubstr("RESET 3 10"));
  client.write(first, "hello\n");
  EXPECT_THAT(client.until_holds("hello"), HasSubstr("BODY 1 you said hello"));
  EXPECT_TRUE(client.h2.codec().send_end(first, {}));
  client.h2.flush();
  EXPECT_EQ(client.h2.until("END 1"), "BODY 1 bye\n, END 1");
  client.close();
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
}

// The connection at the other end of the pair counts what happens in it, and is itself none of a client.
TEST(NestedConnect, WhatHappensInItIsCountedOnce) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("clear"); }));
  H2Client client(proxy);
  const http::StreamId stream = client.connect_to("web.test:" + port_of(origin));
  client.until_holds("HEAD 1 200");
  client.write(stream, "GET /c HTTP/1.1\r\nHost: web.test\r\n\r\n");
  client.until_holds("clear");
  EXPECT_EQ(proxy.rig.active(), 1);
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  const http::StreamId refused = client.connect_to("nothing.test:443");
  client.until_holds("END " + std::to_string(refused));
  client.close();
  EXPECT_TRUE(eventually([&] { return proxy.rig.connections == 0; }));
  EXPECT_EQ(proxy.rig.outcomes(Mode::Record, Outcome::Failed), 1U);
  EXPECT_EQ(proxy.rig.outcomes(Mode::Record, Outcome::Forwarded), 0U);
  EXPECT_EQ(proxy.rig.count(Counter::BytesDown), 5U);
  EXPECT_EQ(proxy.rig.observed(Histogram::UpstreamFirstByte).count, 1U);
  EXPECT_EQ(proxy.rig.counted_connections(), 1U);
}

TEST(NestedConnect, FailuresAreToldOnTheirStream) {
  ProxyRig proxy;
  H2Client client(proxy);
  client.connect_to("nothing.test:443");
  EXPECT_EQ(client.h2.until("HEAD"), "HEAD 1 502");
  EXPECT_THAT(client.until_holds("END 1"), HasSubstr("\"error\":\"upstream_dns\""));
  client.h2.request("GET", "/");
  EXPECT_EQ(client.h2.until("HEAD"), "HEAD 3 502")
      << "the connection goes on: api.test is another name that nobody knows";
}

TEST(NestedConnect, AClientThatLeavesTakesItsTunnelsWithIt) {
  ProxyRig proxy(Mode::Record, {}, {"*.test"});
  ScriptedOrigin silent([](Wire& wire) {
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  H2Client client(proxy);
  for (int i = 0; i < 20; ++i) client.connect_to("web.test:" + port_of(silent));
  client.until_holds("HEAD 39 200");
  EXPECT_EQ(proxy.rig.connections, 21U);
  EXPECT_EQ(proxy.rig.active(), 1);
  client.close();
  EXPECT_TRUE(eventually([&] { return proxy.rig.connections == 0; }));
}

TEST(NestedConnect, WhatItsClientBreaksOffIsBrokenOffAtTheOriginToo) {
  ProxyRig proxy(Mode::Record, {}, {"*.test"});
  std::promise<std::string> heard;
  ScriptedOrigin origin([&](Wire& wire) {  // never ends by itself
    std::string all = wire.rest();
    heard.set_value(all);
    if (all.ends_with("<EOF>")) wire.read_until("never");
    return ScriptedOrigin::End::Close;
  });
  H2Client client(proxy);
  const http::StreamId stream = client.connect_to("web.test:" + port_of(origin));
  client.until_holds("HEAD 1 200");
  client.write(stream, "a part");
  EXPECT_TRUE(eventually([&] { return proxy.rig.count(Counter::TunnelledBytesUp) == 6; }));
  client.h2.codec().reset(stream, http::ResetCode::Cancel);
  client.h2.flush();
  EXPECT_EQ(heard.get_future().get(), "a part<RST>") << "not as if that were the whole";
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 1; })) << "the client's connection alone";
}

TEST(NestedConnect, ALaterRequestOverHttp1MayBeAConnect) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("here"); }));
  const std::string authority = "web.test:" + port_of(origin);
  Wire wire = proxy.connect();
  ASSERT_TRUE(wire.write("GET http://" + authority + "/ HTTP/1.1\r\nHost: w\r\n\r\n"));
  EXPECT_THAT(wire.read_until("here"), HasSubstr("200 OK"));
  ASSERT_TRUE(wire.write("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n"));
  EXPECT_EQ(wire.read_until("\r\n\r\n"), "HTTP/1.1 200 Connection established\r\n\r\n");
  ASSERT_TRUE(wire.write("GET /in HTTP/1.1\r\nHost: w\r\n\r\n"));
  EXPECT_EQ(wire.read_until("here"), with_length("here"));
  wire.close();
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Recorded) == 2; }));
}

TEST(NestedConnect, OverTheLimitIsToldAndNothingIsLeftOpen) {
  ProxyRig proxy(Mode::Record, {}, {}, 1);
  H2Client client(proxy);
  client.connect_to("web.test:443");
  EXPECT_EQ(client.h2.until("HEAD"), "HEAD 1 503");
  EXPECT_THAT(client.until_holds("END 1"), HasSubstr("too_many_connections"));
}

}  // namespace
}  // namespace tapdeck::server

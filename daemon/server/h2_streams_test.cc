// Many streams of one client through a whole worker, and what a client of HTTP/1 cannot say to an origin of HTTP/2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

RigOptions passing(config::UpstreamHttp version = config::UpstreamHttp::Auto) {
  RigOptions options;
  options.mode = Mode::Passthrough;
  config::Route& route = options.config.routes.emplace_back();
  route.name = "all";
  route.upstream_http = version;
  return options;
}

// Begins an answer to each request and never ends one: a watch.
ScriptedOrigin::Script watched(uint32_t streams) {
  return [streams](Wire& raw) {
    http::H2Options options;
    options.max_streams = streams;
    H2Wire wire(raw, http::Role::Server, options);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      http::ResponseHead head;
      head.status = 200;
      head.version = http::Version::Http2;
      const auto stream = static_cast<http::StreamId>(std::stoul(what.substr(4)));
      EXPECT_TRUE(wire.codec().send_response(stream, head, http::EndStream::No));
      wire.flush();
    }
  };
}

// As many requests as wanted are answered, each on a stream of its own that stays open.
void open_watches(H2Wire& client, int wanted) {
  for (int n = 0; n < wanted; ++n) {
    client.request("GET", "/" + std::to_string(n));
    const std::string seen = client.until("HEAD");
    ASSERT_THAT(seen, HasSubstr("200")) << n;
  }
}

TEST(H2Streams, AThousandWatchesOfOneClientSpreadOverTheConnectionsTheirOriginAllows) {
  WorkerRig rig(passing());
  ScriptedOrigin origin(watched(100));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  http::H2Options options;
  options.max_streams = 2000;
  H2Wire client(raw, http::Role::Client, options);
  open_watches(client, 1000);
  EXPECT_EQ(origin.connections(), 10U);
  raw.close();
}

TEST(H2Streams, AskedAllAtOnceTheyWaitForNobody) {
  WorkerRig rig(passing());
  ScriptedOrigin origin(watched(100));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  http::H2Options options;
  options.max_streams = 2000;
  H2Wire client(raw, http::Role::Client, options);
  open_watches(client, 1);  // the client knows our limit from here
  for (int n = 0; n < 250; ++n) client.request("GET", "/");
  for (int n = 0; n < 250; ++n) ASSERT_THAT(client.until("HEAD"), HasSubstr("200")) << n;
  EXPECT_GE(origin.connections(), 3U);
  raw.close();
}

TEST(H2Streams, TheLimitIsTheConfigurations) {
  RigOptions options = passing();
  options.config.limits.h2_streams = 7;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(watched(100));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  open_watches(client, 1);
  EXPECT_EQ(client.codec().streams_left(), 6U);
  raw.close();
}

TEST(H2Streams, AnHttp10RequestWithoutHostIsForWhereItsConnectionWent) {
  WorkerRig rig(passing(config::UpstreamHttp::V2));
  std::string authority;
  ScriptedOrigin origin([&authority](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("END 1");
    authority = wire.request().authority;
    wire.respond(1, 200, "old");
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  const std::string answer = rig.ask("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("old"));
  EXPECT_EQ(authority, origin.endpoint().to_string());
}

TEST(H2Streams, WhatAClientCannotSayInHttp2IsItsOwnFault) {
  WorkerRig rig(passing(config::UpstreamHttp::V2));
  ScriptedOrigin origin(watched(100));
  rig.go_to(origin.endpoint());
  for (const char* line : {"GET ftp://a/ HTTP/1.1", "GET http://a.test?x HTTP/1.1", "GET * HTTP/1.1"}) {
    const std::string answer = rig.ask(std::string(line) + "\r\nHost: a.test\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400")) << line;
  }
}

TEST(H2Streams, AClientThatStallsAllOfItIsAnsweredAndSentAway) {
  RigOptions options = passing();
  options.config.limits.idle_timeout = std::chrono::milliseconds(100);
  options.config.limits.header_timeout = std::chrono::milliseconds(400);  // ends what it never ends itself
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(watched(1));
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire client(raw, http::Role::Client);
  client.open_post("/stalled");
  const std::string seen = client.until("EOF");
  EXPECT_THAT(seen, HasSubstr("HEAD 1 408"));
  EXPECT_THAT(seen, HasSubstr("request_timeout"));
  EXPECT_THAT(seen, HasSubstr("GOAWAY"));
  raw.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
}

}  // namespace
}  // namespace tapdeck::server

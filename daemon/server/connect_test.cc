// Clients of the explicit listener through a whole worker: absolute form, CONNECT, reverse routes, refusals.
#include "daemon/server/h2_wire.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Proxy, AbsoluteFormIsRecordedAsTheOriginSawItAndReplayedWithoutANetwork) {
  ProxyRig proxy;
  std::string seen;
  std::string request;
  std::string recorded;
  {
    ScriptedOrigin origin(http_origin([&](const std::string& from) {
      seen = from;
      return "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nhi<FIN>";
    }));
    request = "GET http://web.test:" + port_of(origin) + "/a?b HTTP/1.1\r\nHost: web.test:" + port_of(origin) +
              "\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nX-Own: 1\r\n\r\n";
    recorded = proxy.ask(request);
    EXPECT_EQ(recorded, "HTTP/1.1 200 OK\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nhi");
    EXPECT_EQ(seen, "GET /a?b HTTP/1.1\r\nHost: web.test:" + port_of(origin) + "\r\nX-Own: 1\r\n\r\n");
  }
  const int asked = proxy.dns.questions();
  const int sockets = proxy.rig.sockets.made;
  proxy.rig.set_mode(Mode::Replay);
  EXPECT_EQ(proxy.ask(request), recorded);
  EXPECT_EQ(proxy.ask(request), recorded) << "out of the hot cache";
  EXPECT_EQ(proxy.dns.questions(), asked);
  EXPECT_EQ(proxy.rig.sockets.made, sockets);
}

TEST(Proxy, OneConnectionServesRequestsToSeveralOrigins) {
  ProxyRig proxy(Mode::Passthrough);
  ScriptedOrigin first(http_origin([](const std::string&) { return with_length("first"); }));
  ScriptedOrigin second(http_origin([](const std::string&) { return with_length("second"); }));
  Wire wire = proxy.connect();
  for (const auto* origin : {&first, &second, &first}) {
    ASSERT_TRUE(wire.write("GET http://127.0.0.1:" + port_of(*origin) + "/ HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_THAT(wire.read_until(origin == &first ? "first" : "second"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
}

TEST(Proxy, ConnectIsDecryptedRecordedAndReplayed) {
  ProxyRig proxy;
  const std::string get = "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n";
  const SslContext context = origin_context(*proxy.rig.origin_ca, tls::leaf_for(kHost));
  auto origin = std::make_unique<ScriptedOrigin>(http_origin([](const std::string&) { return with_length("secret"); }),
                                                 context.get());
  const std::string authority = std::string(kHost) + ":" + port_of(*origin);
  const auto ask = [&] {
    Wire wire = proxy.tunnel(authority);
    EXPECT_TRUE(wire.start_tls(proxy.rig.client_ssl(WorkerRig::Trust::OurCa)));
    EXPECT_TRUE(wire.write(get));
    return wire.read_until("secret");
  };
  EXPECT_EQ(ask(), with_length("secret"));
  EXPECT_EQ(origin->connections(), 1U) << "what CONNECT dialled is what TLS uses";
  origin->stop();
  proxy.rig.set_mode(Mode::Replay);
  const int sockets = proxy.rig.sockets.made;
  EXPECT_EQ(ask(), with_length("secret"));
  EXPECT_EQ(proxy.rig.sockets.made, sockets);
}

TEST(Proxy, BypassedHostIsTunnelledBothWays) {
  ProxyRig proxy(Mode::Record, {}, {"*.test"});
  ScriptedOrigin origin([](Wire& wire) {
    EXPECT_EQ(wire.read_until("\n"), "ping\n");
    wire.write("pong\n");
    return ScriptedOrigin::End::Close;
  });
  Wire wire = proxy.tunnel("web.test:" + port_of(origin));
  ASSERT_TRUE(wire.write("ping\n"));
  EXPECT_EQ(wire.rest(), "pong\n<EOF>");
  EXPECT_EQ(proxy.rig.count(Counter::TunnelledBypass), 1U);
  proxy.rig.set_mode(Mode::Replay, {"*.test"});
  EXPECT_THAT(proxy.ask("CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n\r\n"),
              HasSubstr("\"error\":\"not_recorded\""));
}

TEST(Proxy, WhatIsNeitherTlsNorHttpIsTunnelledWhoeverSpeaksFirst) {
  ProxyRig proxy;
  ScriptedOrigin echo([](Wire& wire) {
    EXPECT_EQ(wire.read_until("\n"), "\x01\x02raw\n");
    wire.write("ok\n");
    return ScriptedOrigin::End::Close;
  });
  Wire client_first = proxy.tunnel("127.0.0.1:" + port_of(echo));
  ASSERT_TRUE(client_first.write("\x01\x02raw\n"));
  EXPECT_EQ(client_first.rest(), "ok\n<EOF>");
  EXPECT_EQ(echo.connections(), 1U);
  ScriptedOrigin banner([](Wire& wire) {
    wire.write("220 hello\n");
    return ScriptedOrigin::End::Close;
  });
  Wire server_first = proxy.tunnel("127.0.0.1:" + port_of(banner));
  EXPECT_EQ(server_first.read_until("\n"), "220 hello\n");
  server_first.close();
  EXPECT_EQ(banner.connections(), 1U);
}

TEST(Proxy, NameInABypassedNetworkIsTunnelled) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Passthrough}) {
    ProxyRig proxy(mode, {}, {"127.0.0.0/8"});
    ScriptedOrigin origin([](Wire& wire) {
      wire.write("heard " + wire.read_n(5));
      return ScriptedOrigin::End::Close;
    });
    Wire wire = proxy.tunnel("web.test:" + port_of(origin));
    wire.write(std::string_view("\x16\x03\x01\x00\x05", 5));  // as TLS begins
    EXPECT_EQ(wire.read_n(11), std::string("heard \x16\x03\x01\x00\x05", 11)) << to_string(mode);
    wire.close();
    EXPECT_EQ(proxy.rig.count(Counter::TunnelledBypass), 1U);
  }
}

TEST(Proxy, NameOutsideABypassedNetworkIsNot) {
  ProxyRig proxy(Mode::Record, {}, {"192.0.2.0/24", "127.0.0.0/8:1"});
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("seen"); }));
  Wire wire = proxy.tunnel("web.test:" + port_of(origin));
  wire.write("GET / HTTP/1.1\r\nHost: web.test\r\n\r\n");
  wire.half_close();
  EXPECT_THAT(wire.rest(), HasSubstr("seen"));
  EXPECT_EQ(proxy.rig.count(Counter::TunnelledBypass), 0U);
  EXPECT_TRUE(eventually([&] { return proxy.rig.store->stored_recordings() == 1; }));
}

TEST(Proxy, ConnectToABypassedHostWhoseRouteIsInReplayIsRefused) {
  config::Route sealed;
  sealed.host = "web.test";
  sealed.mode = Mode::Replay;
  ProxyRig proxy(Mode::Record, {sealed}, {"web.test"});
  EXPECT_THAT(proxy.ask("CONNECT web.test:443 HTTP/1.1\r\nHost: web.test\r\n\r\n"), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(proxy.rig.count(Counter::MissOpaque), 1U);
  EXPECT_EQ(proxy.rig.sockets.made, 0);
}

TEST(Proxy, ClearHttpInsideATunnelIsRecordedToo) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("clear"); }));
  Wire wire = proxy.tunnel("web.test:" + port_of(origin));
  ASSERT_TRUE(wire.write("GET /c HTTP/1.1\r\nHost: web.test\r\n\r\n"));
  EXPECT_EQ(wire.read_until("clear"), with_length("clear"));
  EXPECT_EQ(origin.connections(), 1U);
  wire.close();
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
}

TEST(Proxy, HastyClientMaySendItsFirstBytesWithTheConnect) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("hasty"); }));
  const std::string authority = "127.0.0.1:" + port_of(origin);
  Wire wire = proxy.connect();
  ASSERT_TRUE(wire.write("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority +
                         "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(wire.read_until("hasty"), HasSubstr("200 Connection established\r\n\r\nHTTP/1.1 200 OK"));
}

TEST(Proxy, ConnectFailuresAreToldAndTheTailIsNeverTakenForARequest) {
  ProxyRig proxy;
  UniqueFd closed = listen_on_loopback();
  const std::string port = std::to_string(local_endpoint(closed.get()).port);
  closed.reset();
  const struct {
    std::string authority, status, error;
  } table[] = {{"127.0.0.1:" + port, "502", "upstream_connect"}, {"[::1]:" + port, "502", "upstream_connect"},
               {"web.test:" + port, "502", "upstream_connect"},  {"nothing.test:443", "502", "upstream_dns"},
               {"servfail.test:443", "502", "upstream_dns"},     {"empty.test:443", "502", "upstream_dns"}};
  for (const auto& row : table) {
    const std::string answer = proxy.ask("CONNECT " + row.authority + " HTTP/1.1\r\nHost: " + row.authority +
                                         "\r\n\r\nGET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + row.status + " ")) << row.authority;
    EXPECT_THAT(answer, HasSubstr("\"error\":\"" + row.error + "\"")) << row.authority;
    EXPECT_THAT(answer, HasSubstr("\"destination\":\"" + row.authority + "\""));
    EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos) << answer;
  }
  EXPECT_EQ(proxy.rig.count(Counter::UpstreamDns), 3U);
  EXPECT_EQ(proxy.rig.count(Counter::UpstreamRefused), 3U);
  EXPECT_THAT(proxy.ask("CONNECT web.test HTTP/1.1\r\nHost: web.test\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(proxy.rig.outcomes(Mode::Record, Outcome::Failed), 7U);
  EXPECT_EQ(proxy.rig.timed(Mode::Record, Outcome::Failed), 7U);
}

TEST(Proxy, DnsFailuresOfAbsoluteFormAre502AndSayWhich) {
  ProxyRig proxy;
  for (const auto& [host, which] : {std::pair("nothing.test", "NXDOMAIN"), std::pair("servfail.test", "SERVFAIL"),
                                    std::pair("empty.test", "NODATA")}) {
    const std::string answer =
        proxy.ask("GET http://" + std::string(host) + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 502 ")) << host;
    EXPECT_THAT(answer, HasSubstr("\"error\":\"upstream_dns\"")) << host;
    EXPECT_THAT(answer, HasSubstr(which)) << host;
  }
}

TEST(Proxy, RefusesItselfInEveryDisguise) {
  ProxyRig proxy;
  const std::string port = std::to_string(proxy.listening.port);
  for (const std::string& host : {"127.0.0.1", "web.test", "0.0.0.0", "[::ffff:127.0.0.1]"}) {
    const std::string authority = host + ":" + port;
    const std::string get = proxy.ask("GET http://" + authority + "/ HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(get, StartsWith("HTTP/1.1 403 ")) << authority;
    EXPECT_THAT(get, HasSubstr("refused_destination"));
    const std::string tunnel = proxy.ask("CONNECT " + authority + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(tunnel, StartsWith("HTTP/1.1 403 ")) << authority;
  }
  EXPECT_EQ(proxy.rig.sockets.made, 0);
  EXPECT_EQ(proxy.rig.count(Counter::ProxyRefusedOwnAddress), 8U);
}

TEST(Proxy, RefusesTheListenersOfTheCapture) {
  ProxyRig proxy;
  const Endpoint& captured = proxy.rig.listening();
  proxy.own.add_captured(1, captured);
  const std::string answer = proxy.ask("GET http://" + captured.to_string() + "/ HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 403 "));
  EXPECT_THAT(answer, HasSubstr("refused_destination"));
  EXPECT_EQ(proxy.rig.sockets.made, 0);
  EXPECT_EQ(proxy.rig.store->stored_recordings(), 0U);
}

TEST(Proxy, CapturedClientOnItsWayToTheProxyIsServedByIt) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("once"); }));
  proxy.rig.go_to(proxy.listening);
  const std::string target = "http://127.0.0.1:" + port_of(origin) + "/";
  EXPECT_THAT(proxy.rig.ask("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr("once"));
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
}

config::Route reverse(const std::string& upstream) {
  config::Route route;
  route.name = "api";
  route.path_prefix = "/api";
  route.rewrite_path = "/v1";
  route.upstream = upstream;
  return route;
}

TEST(Proxy, ReverseRouteRewritesRecordsAndReplays) {
  std::string seen;
  ScriptedOrigin origin(http_origin([&](const std::string& from) {
    seen = from;
    return with_length("from upstream");
  }));
  ProxyRig proxy(Mode::Record, {reverse("http://web.test:" + port_of(origin))});
  const std::string request = "GET /api/x HTTP/1.1\r\nHost: localhost:8080\r\nConnection: keep-alive\r\n\r\n";
  EXPECT_EQ(proxy.ask(request), with_length("from upstream"));
  EXPECT_EQ(seen, "GET /v1/x HTTP/1.1\r\nHost: web.test:" + port_of(origin) + "\r\n\r\n");
  origin.stop();
  proxy.rig.set_mode(Mode::Replay);
  EXPECT_EQ(proxy.ask(request), with_length("from upstream"));
  const std::string miss = proxy.ask("GET /api/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(miss, StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(miss, HasSubstr("\"route\":\"api\""));
}

TEST(Proxy, RedirectsOfAReverseUpstreamLeadBackToTheProxyAndAreRecordedAsTheyCame) {
  std::string where;
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return "HTTP/1.1 302 Found\r\nLocation: " + where + "\r\nContent-Length: 0\r\n\r\n";
  }));
  where = "http://web.test:" + port_of(origin) + "/v1/login?next=1";
  ProxyRig proxy(Mode::Record, {reverse("http://web.test:" + port_of(origin))});
  const std::string begin = "GET /api/x HTTP/1.1\r\nHost: ";
  EXPECT_THAT(proxy.ask(begin + "localhost:8080\r\n\r\n"),
              HasSubstr("\r\nLocation: http://localhost:8080/api/login?next=1\r\n"));
  origin.stop();
  EXPECT_TRUE(eventually([&] { return proxy.rig.store->stored_recordings() == 1; }));
  const auto listed = tls::testing::must(proxy.rig.store->list_recordings({}));
  const auto recording = tls::testing::must(proxy.rig.store->get(listed.items.front().id));
  EXPECT_EQ(recording.response.headers.find("location"), where);
  proxy.rig.set_mode(Mode::Replay);
  EXPECT_THAT(proxy.ask(begin + "proxy.lan\r\n\r\n"), HasSubstr("\r\nLocation: http://proxy.lan/api/login?next=1\r\n"))
      << "as fits who asks";
}

TEST(Proxy, WhatMayNotBePassedOnIsAnsweredByTheProxyInEveryMode) {
  ProxyRig proxy;
  for (const Mode mode : {Mode::Record, Mode::Replay}) {
    proxy.rig.set_mode(mode);
    const std::string rest = "http://web.test/ HTTP/1.1\r\nHost: web.test\r\nMax-Forwards: 0\r\n\r\n";
    EXPECT_EQ(proxy.ask("OPTIONS " + rest), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_THAT(proxy.ask("TRACE " + rest), EndsWith("\r\n\r\nTRACE " + rest));
  }
  EXPECT_EQ(proxy.rig.sockets.made, 0);
}

// More streams than each can have a whole queue (H2Codec::kFullQueues): then an answer from memory may not fit at once.
TEST(Proxy, AnswersFromMemoryWaitForTheWindowsOfManyStreams) {
  constexpr int kStreams = 250;
  const std::string body(60000, 'b');
  ScriptedOrigin origin(http_origin([&](const std::string&) { return with_length(body); }));
  config::Route route;
  route.upstream = "http://127.0.0.1:" + port_of(origin);
  ProxyRig proxy(Mode::Record, {route});
  const std::string request = "GET /wide HTTP/1.1\r\nHost: api.test\r\n\r\n";
  EXPECT_EQ(proxy.ask(request), with_length(body));
  proxy.rig.set_mode(Mode::Replay);
  EXPECT_EQ(proxy.ask(request), with_length(body));  // into memory
  Wire raw = proxy.connect();
  http::H2Options narrow;
  narrow.max_streams = 1000;
  narrow.stream_window = 16384;
  H2Wire client(raw, http::Role::Client, narrow);
  client.request("GET", "/wide");
  EXPECT_THAT(client.until("END 1"), EndsWith("END 1"));  // the proxy's own limits are known now
  for (int i = 0; i < kStreams; ++i) client.request("GET", "/wide");
  int whole = 0;
  std::string last;
  while (whole < kStreams && !last.starts_with("RESET") && !last.starts_with("E")) {
    last = client.next();
    if (!last.starts_with("END")) continue;
    ++whole;
    last.clear();
  }
  EXPECT_EQ(whole, kStreams) << last;
  EXPECT_EQ(proxy.rig.outcomes(Mode::Replay, Outcome::Failed), 0U);
}

TEST(Proxy, ReverseRouteToHttpsVerifiesItsUpstream) {
  config::Route route = reverse("");
  const auto serve = http_origin([](const std::string&) { return with_length("tls"); });
  auto other_ca = tls::testing::must(tls::CertificateAuthority::create_in_memory({}));
  const SslContext wrong = origin_context(*other_ca, tls::leaf_for(kHost));
  ScriptedOrigin impostor(serve, wrong.get());
  route.upstream = "https://" + std::string(kHost) + ":" + port_of(impostor);
  ProxyRig proxy(Mode::Passthrough, {route});
  const std::string answer = proxy.ask("GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(answer, HasSubstr("upstream_tls"));
}

TEST(Proxy, AbsoluteFormHttpsIsDialledWithTlsAndTheNameAsked) {
  ProxyRig proxy(Mode::Record);
  const SslContext context = origin_context(*proxy.rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("tls"); }), context.get());
  EXPECT_EQ(proxy.ask("GET https://api.test:" + port_of(origin) + "/ HTTP/1.1\r\nHost: x\r\n\r\n"), with_length("tls"));
}

TEST(Proxy, OriginFormWithoutRouteIsToldWhatToDo) {
  ProxyRig proxy;
  const std::string answer = proxy.ask("GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(answer, HasSubstr("\"error\":\"no_route\""));
  EXPECT_THAT(answer, HasSubstr("upstream = "));
  EXPECT_EQ(proxy.rig.count(Counter::ProxyNoRoute), 1U);
}

TEST(Proxy, ClientThatLeavesEarlyLeavesNothingBehind) {
  ProxyRig proxy;
  uint64_t clients = 0;
  for (const std::string start : {"", "C", "CONNECT web.te", "CONNECT silent.test:443 HTTP/1.1\r\nHost: s\r\n\r\n"}) {
    Wire wire = proxy.connect();
    if (!start.empty()) EXPECT_TRUE(wire.write(start));
    wire.reset();
    Wire orderly = proxy.connect();
    if (!start.empty()) EXPECT_TRUE(orderly.write(start));
    orderly.close();
    clients += 2;
  }
  // None is active before it was accepted, either.
  EXPECT_TRUE(eventually([&] { return proxy.rig.counted_connections() == clients; }));
  EXPECT_TRUE(eventually([&] { return proxy.rig.active() == 0; }));
}

TEST(Proxy, AClientThatLeavesBeforeItsOriginIsReachedLeavesNoAnswerOnTheTape) {
  ProxyRig proxy;
  Wire wire = proxy.connect();
  EXPECT_TRUE(wire.write("GET http://mute.test/ HTTP/1.1\r\nHost: mute.test\r\n\r\n"));
  EXPECT_TRUE(eventually([&] { return proxy.dns.questions() > 0; }));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return proxy.rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  // The store writes in order: what comes later is there when all before it is.
  EXPECT_THAT(proxy.ask("GET http://servfail.test/ HTTP/1.1\r\nHost: servfail.test\r\n\r\n"),
              HasSubstr("upstream_dns"));
  EXPECT_TRUE(eventually([&] { return proxy.rig.store->stored_recordings() > 1; }));
  std::vector<int> answers;
  for (const store::Recording& recording : tls::testing::must(proxy.rig.store->list_recordings({})).items)
    answers.push_back(recording.response.status);
  EXPECT_THAT(answers, testing::UnorderedElementsAre(0, 502));
}

TEST(Proxy, TlsToTheProxyItselfIsNotSpoken) {
  ProxyRig proxy;
  Wire wire = proxy.connect();
  EXPECT_FALSE(wire.start_tls(proxy.rig.client_ssl(WorkerRig::Trust::OurCa)));
}

}  // namespace
}  // namespace tapdeck::server

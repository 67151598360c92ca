// The explicit and reverse proxy from outside: real clients with HTTP_PROXY and HTTPS_PROXY, record, origin off, replay
// byte-equal; tunnels; who may use it and where it never goes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nghttpd_origin.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/proxied.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kClientFiles = std::string(TAPDECK_LAB_SOURCE) + "/clients";

std::vector<std::string> command(const std::string& kind, const std::string& url) {
  if (kind == "curl") return {"curl", "-sS", "-i", "--http1.1", "--suppress-connect-headers", url};
  if (kind == "python") return {"/usr/bin/python3", kClientFiles + "/client.py", url};
  if (kind == "node") return {"node", kClientFiles + "/client_proxy.js", url};
  if (kind == "go") return {go_client(), url};
  return {"wget", "-q", "-S", "-O", "-", url};
}

TEST(Proxy, RealClientsWithAProxyInTheirEnvironmentSeeTheSameAnswerTwice) {
  Proxied proxied;
  NginxOrigin origin(proxied.lab(),
                     {{"hello.json", "{\"hello\": \"world\"}\n"}, {"big.txt", std::string(300000, 'b')}});
  const std::vector<std::pair<std::string, std::string>> visits = [] {
    std::vector<std::pair<std::string, std::string>> all;
    for (const std::string kind : {"curl", "python", "node", "go", "wget"}) {
      all.emplace_back(kind, "http://origin.test/hello.json");
      all.emplace_back(kind, "https://origin.test/big.txt");
      all.emplace_back(kind, "https://v6.origin.test/hello.json");
    }
    all.emplace_back("curl", "http://10.77.2.2/hello.json");
    all.emplace_back("curl", "http://[fd77:2::2]/hello.json");
    all.emplace_back("curl", "https://10.77.2.2/hello.json");
    return all;
  }();
  const auto ask = [&](const std::string& kind, const std::string& url) {
    auto argv = command(kind, url);
    if (kind == "wget") argv.insert(argv.begin() + 1, {"--ca-certificate", proxied.daemon().client_ca()});
    const auto output = proxied.run(argv);
    EXPECT_EQ(output.status, 0) << kind << " " << url << ": " << output.out << output.err;
    return kind == "wget" ? output.err + output.out : output.out;
  };
  std::map<std::string, std::string> recorded;
  for (const auto& [kind, url] : visits) recorded[kind + url] = ask(kind, url);
  EXPECT_THAT(recorded["curlhttps://v6.origin.test/hello.json"], HasSubstr("{\"hello\": \"world\"}"));
  origin.stop();
  proxied.set_mode("replay");
  const auto asked = proxied.dns().questions();
  for (const auto& [kind, url] : visits) EXPECT_EQ(ask(kind, url), recorded[kind + url]) << kind << " " << url;
  EXPECT_EQ(proxied.dns().questions(), asked) << "replay looked something up";
  const double all = double(visits.size());
  EXPECT_EQ(proxied.daemon().metric("tapdeck_requests_total", {"target=\"explicit\"", "outcome=\"replayed\""}), all);
  EXPECT_EQ(proxied.daemon().metric("tapdeck_requests_total", {"target=\"explicit\"", "outcome=\"recorded\""}), all);
  proxied.expect_no_connection_left();
}

TEST(Proxy, RawAnswersAreByteEqualInBothForms) {
  Proxied proxied;
  const std::string odd =
      "HTTP/1.1 200 Quite Fine\r\nx-lower: 1\r\nX-Twice: 1\r\nServer: t\r\nx-tWICE: 2\r\nTransfer-Encoding: chunked\r\n"
      "\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n";
  auto clear = std::make_unique<ScriptedOrigin>(proxied.lab().origin(), 80, std::nullopt, answers({{"/odd", odd}}));
  auto secure =
      std::make_unique<ScriptedOrigin>(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/odd", odd}}));
  const auto absolute = [&] {
    return proxied.ask("GET http://origin.test/odd HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n");
  };
  const auto tunnelled = [&] {
    return proxied.ask_tls("origin.test:443", "origin.test", get_request("/odd"), proxied.daemon().client_ca());
  };
  EXPECT_EQ(parse_raw(absolute()), parse_raw(odd));
  EXPECT_EQ(parse_raw(tunnelled()), parse_raw(odd));
  clear->stop();
  secure->stop();
  proxied.set_mode("replay");
  EXPECT_EQ(parse_raw(absolute()), parse_raw(odd));
  EXPECT_EQ(parse_raw(tunnelled()), parse_raw(odd));
}

// A client that offers h2 inside CONNECT, and the version it speaks there.
std::string in_connect(const Proxied& proxied) {
  const auto output = proxied.run({"curl", "-sS", "--http2", "-w", " %{http_version}", "https://origin.test/x"});
  return output.out + output.err;
}

TEST(Proxy, Http2InsideConnectIsRecordedAndReplayed) {
  Proxied proxied;
  NghttpdOrigin origin(proxied.lab(), {{"x", "over h2"}});
  EXPECT_EQ(in_connect(proxied), "over h2 2");
  const auto prior =
      proxied.run({"curl", "-sS", "--http2-prior-knowledge", "--noproxy", "*", "-i", "http://10.77.1.1:8080/x"});
  EXPECT_THAT(prior.out, HasSubstr("HTTP/2 404")) << "its own address, asked for in h2: " << prior.err;
  EXPECT_THAT(prior.out, HasSubstr("no_route"));
  origin.stop();
  proxied.set_mode("replay");
  EXPECT_EQ(in_connect(proxied), "over h2 2");
}

TEST(Proxy, AnOldOriginInsideConnectIsNamedByAlpnAndByTheTape) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/x", ok_response("over tls")}}));
  EXPECT_EQ(in_connect(proxied), "over tls 1.1");
  origin.stop();
  proxied.set_mode("replay");
  EXPECT_EQ(in_connect(proxied), "over tls 1.1");
}

TEST(Proxy, BypassedHostIsTunnelledBothWaysAndUndecrypted) {
  DaemonOptions options;
  options.sections["tls"] = "bypass = [\"*.origin.test\"]\n";
  Proxied proxied(options);
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/", ok_response("opaque")}}));
  // Only the lab's CA: what the client sees is the origin's own certificate.
  const auto lab_ca = proxied.lab().ca().certificate();
  EXPECT_THAT(proxied.ask_tls("v4.origin.test:443", "v4.origin.test", get_request("/"), lab_ca), HasSubstr("opaque"));
  EXPECT_EQ(proxied.ask_tls("origin.test:443", "origin.test", get_request("/"), lab_ca), "") << "this one is decrypted";
  EXPECT_EQ(proxied.daemon().metric("tapdeck_tunnelled_total", {"bypass"}), 1.0);
  ScriptedOrigin banner(proxied.lab().origin(), 25, std::nullopt, [](Peer& peer) {
    peer.stream().send("220 ready\r\n");
    const auto line = peer.stream().read_until("\r\n");
    peer.stream().send("250 " + line);
  });
  Stream smtp = proxied.tunnel("origin.test:25");
  EXPECT_EQ(smtp.read_until("\r\n"), "220 ready\r\n");
  smtp.send("EHLO me\r\n");
  EXPECT_EQ(smtp.read_until("\r\n"), "250 EHLO me\r\n");
  EXPECT_EQ(banner.connections(), 1U);
}

TEST(Proxy, ReverseRouteIsRecordedAndReplayed) {
  DaemonOptions options;
  options.sections["[routes]"] =
      "name = \"shop\"\npath_prefix = \"/shop\"\nupstream = \"https://origin.test\"\nrewrite_path = \"/v1\"\n";
  Proxied proxied(options);
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), [](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      peer.stream().send(ok_response(request));
    }
  });
  const std::string request = "GET /shop/cart?id=1 HTTP/1.1\r\nHost: gateway:8080\r\nConnection: close\r\n\r\n";
  const auto recorded = proxied.ask(request);
  EXPECT_THAT(recorded, HasSubstr("\r\n\r\nGET /v1/cart?id=1 HTTP/1.1\r\nHost: origin.test\r\n\r\n"));
  origin.stop();
  proxied.set_mode("replay");
  EXPECT_EQ(proxied.ask(request), recorded);
  const auto no_route = proxied.ask("GET /other HTTP/1.1\r\nHost: gateway:8080\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(no_route, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(no_route, HasSubstr("upstream = "));
}

// Clients and upstreams of either version; nghttpd speaks h2 only, and knows the rewritten path only.
TEST(Proxy, ReverseRoutesOfAnyVersionServeClientsOfAnyVersion) {
  DaemonOptions options;
  for (const auto& [name, upstream] : {std::pair{"clear", "h2c://10.77.2.2:8080"},
                                       {"secure", "https://origin.test\"\nupstream_http = \"2"},
                                       {"old", "http://10.77.2.2:8081"}}) {
    options.routes += std::string("[[routes]]\nname = \"") + name + "\"\npath_prefix = \"/" + name +
                      "/\"\nupstream = \"" + upstream + "\"\nrewrite_path = \"/\"\n";
  }
  Proxied proxied(options);
  NghttpdOrigin modern(proxied.lab(), {{"x", "of h2"}});
  ScriptedOrigin old(proxied.lab().origin(), 8081, std::nullopt, [](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      peer.stream().send(ok_response(target_of(request)));
    }
  });
  struct Visit {
    std::string version, path, wanted;
  };
  const std::vector<Visit> visits = {
      {"--http1.1", "/clear/x?1", "of h2 1.1 200"},  {"--http2-prior-knowledge", "/clear/x?2", "of h2 2 200"},
      {"--http1.1", "/secure/x?1", "of h2 1.1 200"}, {"--http2-prior-knowledge", "/secure/x?2", "of h2 2 200"},
      {"--http1.1", "/old/x?1", "/x?1 1.1 200"},     {"--http2-prior-knowledge", "/old/x?2", "/x?2 2 200"}};
  const auto visit_all = [&](const std::string& when) {
    for (const Visit& visit : visits) {
      const auto output =
          run_in({.lab = proxied.lab()}, {"curl", "-sS", visit.version, "-w", " %{http_version} %{http_code}",
                                          std::string("http://") + kProxy + visit.path});
      EXPECT_EQ(output.out + output.err, visit.wanted) << when << ": " << visit.version << " " << visit.path;
    }
  };
  visit_all("recorded");
  modern.stop();
  old.stop();
  proxied.set_mode("replay");
  visit_all("replayed");
  const double all = double(visits.size());
  EXPECT_EQ(proxied.daemon().metric("tapdeck_requests_total", {"outcome=\"recorded\""}), all);
  EXPECT_EQ(proxied.daemon().metric("tapdeck_requests_total", {"outcome=\"replayed\""}), all);
}

TEST(Proxy, NeverGoesToItsOwnAddressesNorToTheAdminServer) {
  Proxied proxied;
  for (const std::string authority :
       {"127.0.0.1:9909", "localhost:9909", "0.0.0.0:9909", "127.0.0.1:8080", "10.77.1.1:8080", "10.77.2.1:8080",
        "[::ffff:127.0.0.1]:9909", "gateway.test:8080"}) {
    EXPECT_THAT(proxied.ask(connect_request(authority)), StartsWith("HTTP/1.1 403 ")) << authority;
    const auto answer = proxied.ask("GET http://" + authority +
                                    "/metrics HTTP/1.1\r\nHost: localhost\r\n"
                                    "Connection: close\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 403 ")) << authority;
    EXPECT_THAT(answer, Not(HasSubstr("tapdeck_build_info")));
  }
  proxied.expect_no_connection_left();
}

TEST(Proxy, ClientsOutsideTheListAreResetAndCounted) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  const auto& stranger = proxied.lab().add_client();  // 10.77.11.2
  const Seat seat{.lab = proxied.lab(), .from = &stranger};
  const auto output = raw_tcp(seat, "10.77.11.1", 8080, "GET http://origin.test/ HTTP/1.1\r\nHost: o\r\n\r\n");
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(proxied.daemon().metric("tapdeck_proxy_refused_total", {"client"}), 1.0);
  EXPECT_EQ(origin.connections(), 0U);
  const auto friendly = proxied.ask("GET http://origin.test/ HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(friendly, HasSubstr("200 OK"));
}

TEST(Proxy, ListenerBeyondLoopbackWithoutAWordAboutClientsIsAConfigurationError) {
  Topology lab;
  const auto config = lab.directory() / "open.toml";
  write_file(config, "[proxy]\nlisten = \"0.0.0.0:8080\"\n");
  const auto output = run_to_end({.argv = {tapdeck_binary(), "serve", "--config", config}, .netns = &lab.gw()});
  EXPECT_NE(output.status, 0);
  EXPECT_THAT(output.err, HasSubstr("listen in [proxy]"));
  EXPECT_THAT(output.err, HasSubstr("allow_remote"));
}

TEST(Proxy, ItsClientsAreATargetThatModeAndSessionCommandsKnow) {
  Proxied proxied;
  const auto listed = nlohmann::json::parse(proxied.daemon().must_cli({"targets", "--json"}));
  EXPECT_EQ(listed["items"].at(0)["name"], "explicit");
  EXPECT_EQ(listed["items"].at(0)["captured"], "proxy.listen 0.0.0.0:8080");
  proxied.daemon().must_cli({"session", "create", "other"});
  proxied.daemon().must_cli({"session", "activate", "other", "--target", "explicit"});
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  EXPECT_THAT(proxied.ask("GET http://origin.test/ HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n"),
              HasSubstr("200 OK"));
  const auto recordings =
      nlohmann::json::parse(proxied.daemon().must_cli({"recording", "list", "--session", "other", "--json"}));
  ASSERT_EQ(recordings["items"].size(), 1U);
  EXPECT_EQ(recordings["items"].at(0)["url"], "http://origin.test/");
  const auto modes = nlohmann::json::parse(proxied.daemon().must_cli({"mode", "show", "--json"}));
  EXPECT_EQ(modes["targets"].at(0)["session"], "other");
}

TEST(Proxy, ASessionThatComesAfterTheStartIsReplayed) {
  Proxied proxied({.mode = "replay"});
  const auto detail = [&] {
    const auto listed = nlohmann::json::parse(proxied.daemon().must_cli({"targets", "--json"}));
    return listed["items"].at(0)["detail"].get<std::string>();
  };
  const auto ask = [&] {
    return proxied.ask("GET http://origin.test/ HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
  };
  EXPECT_THAT(ask(), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(detail(), HasSubstr("'default'"));
  proxied.daemon().must_cli({"session", "create", "default"});
  EXPECT_TRUE(eventually([&] { return detail().empty(); }));
  EXPECT_THAT(ask(), HasSubstr("not_recorded"));
}

TEST(Proxy, CapturedClientThatUsesTheProxyTooIsRecordedOnce) {
  DaemonOptions options;
  options.sections["proxy"] = "listen = \"0.0.0.0:8080\"\nallow_remote = true\n";
  Captured captured(CaptureBy::Cgroup, options);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("once")}}));
  const auto output = raw_tcp(captured.seat(), "10.77.1.1", 8080,
                              "GET http://10.77.2.2/ HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(output.out, HasSubstr("once"));
  EXPECT_EQ(captured.recordings(), 1U);
  EXPECT_EQ(origin.requests(), 1U);
}

}  // namespace
}  // namespace tapdeck::lab

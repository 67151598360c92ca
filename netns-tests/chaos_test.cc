// The three chaos scenarios, and the upstream failures a client must be able to tell apart: bad things repeat, then a
// good request succeeds, and tapdeck_active_connections is 0 afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

TEST(Chaos, UntrustingClientsFailRepeatedlyThenATrustingOneSucceeds) {
  Captured captured(CaptureBy::Cgroup);
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(), answers({{"/", ok_response("x")}}));
  auto untrusting = captured.seat();
  untrusting.ca = captured.lab().ca().certificate();  // trusts the origin's CA, not tapdeck's
  for (int i = 0; i < chaos_repeats(); ++i) {
    EXPECT_NE(raw_https(untrusting, kOriginV4, "origin.test", get_request("/")).status, 0);
  }
  EXPECT_EQ(origin.requests(), 0U) << captured.daemon().must_cli({"targets"}) << captured.daemon().get("/metrics").body;
  EXPECT_GE(captured.daemon().metric("tapdeck_tls_handshakes_total", {"client_rejected_ca"}), double(chaos_repeats()));
  const auto output = raw_https(captured.seat(), kOriginV4, "origin.test", get_request("/"));
  EXPECT_EQ(parse_raw(output.out).body, "x") << output.err;
  expect_no_connection_left(captured.daemon());
}

TEST(Chaos, UpstreamConnectFailuresAnswer502ThenTheNextRequestSucceeds) {
  Captured captured;
  for (int i = 0; i < chaos_repeats(); ++i) {
    const auto response = parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).out);
    EXPECT_THAT(response.status_line, HasSubstr(" 502 "));
    EXPECT_EQ(nlohmann::json::parse(response.body).value("error", ""), "upstream_connect") << response.body;
  }
  EXPECT_EQ(captured.daemon().metric("tapdeck_upstream_errors_total", {"kind=\"refused\""}), double(chaos_repeats()));
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("back")}}));
  EXPECT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).out).body, "back");
  expect_no_connection_left(captured.daemon());
}

TEST(Chaos, SlowAndIdleClientsWithPartialHeadsReachNothingUpstreamAndDrain) {
  DaemonOptions options;
  options.sections["limits"] = "header_timeout = \"3s\"\n";
  Captured captured(CaptureBy::Cgroup, options);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  for (int done = 0; done < chaos_repeats(); done += 20) {  // twenty at a time
    std::vector<std::unique_ptr<Process>> clients;
    for (int i = 0; i < 20; ++i) {
      auto slow = seated(captured.seat(), {lab_peer_binary(), "bytes", kOriginV4, "80"});
      slow.input = "GET / HTTP/1.1\r\nHost: origin.te";
      clients.push_back(std::make_unique<Process>(slow));
    }
    EXPECT_TRUE(eventually(5s, [&] { return captured.daemon().metric("tapdeck_active_connections") == 20; }));
    for (int i = 0; i < 10; ++i) clients[static_cast<size_t>(i)]->signal(SIGKILL);  // half leave, half are timed out
    expect_no_connection_left(captured.daemon());
    for (size_t i = 10; i < 20; ++i) {
      EXPECT_TRUE(clients[i]->wait(5s));
      EXPECT_THAT(clients[i]->out(), HasSubstr(" 408 "));
    }
  }
  EXPECT_EQ(origin.requests(), 0U);
  EXPECT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).out).body, "x");
}

TEST(Chaos, UpstreamFaultsAreNamedOneByOne) {
  DaemonOptions options;
  options.sections["limits"] = "request_timeout = \"2s\"\n";
  Captured captured(CaptureBy::Cgroup, options);
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    const auto target = target_of(peer.read_request());
    if (target == "/reset") return peer.stream().reset();
    if (target == "/half") static_cast<void>(peer.stream().send("HTTP/1.1 200 OK\r\nContent-Le"));
    if (target == "/garbage") static_cast<void>(peer.stream().send("garbage\r\n\r\n"));
    if (target == "/silent") static_cast<void>(peer.stream().read_to_end());
  });
  const std::string nowhere = "203.0.113.1";  // gw has no route there
  const std::string errors = "tapdeck_upstream_errors_total";
  const struct {
    std::string address, path, status, error, metric, label;
  } cases[] = {{kOriginV4, "/reset", " 502 ", "upstream_reset", errors, "kind=\"reset\""},
               {kOriginV4, "/half", " 502 ", "upstream_truncated", errors, "kind=\"truncated\""},
               {kOriginV4, "/garbage", " 502 ", "upstream_protocol", errors, "kind=\"protocol\""},
               {kOriginV4, "/silent", " 504 ", "upstream_timeout", "tapdeck_limit_hits_total", "request_timeout"},
               {nowhere, "/", " 502 ", "upstream_connect", errors, "kind=\"unreachable\""}};
  for (const auto& c : cases) {
    EXPECT_EQ(captured.daemon().metric(c.metric, {c.label}), 0) << c.label;
    const auto output = raw_tcp(captured.seat(), c.address, 80, get_request(c.path));
    EXPECT_THAT(output.out, HasSubstr("HTTP/1.1" + c.status)) << c.path << ": " << output.err;
    EXPECT_THAT(output.out, HasSubstr("\"" + c.error + "\"")) << c.path;
    EXPECT_EQ(captured.daemon().metric(c.metric, {c.label}), 1) << c.label;
  }
  expect_no_connection_left(captured.daemon());
}

TEST(Chaos, AnOriginThatNeverAnswersIsA504) {
  DaemonOptions options;
  options.sections["limits"] = "connect_timeout = \"300ms\"\ntls_timeout = \"2s\"\n";
  Captured captured(CaptureBy::Cgroup, options);
  const auto expect_timeout = [](const Output& output, const std::string& what) {
    const auto response = parse_raw(output.out);
    EXPECT_THAT(response.status_line, HasSubstr(" 504 ")) << what;
    EXPECT_EQ(nlohmann::json::parse(response.body).value("error", ""), "upstream_timeout") << what << response.body;
  };
  const std::string swallows = "10.77.2.99";  // every SYN
  captured.lab().gw().ip("neigh replace " + swallows + " lladdr 02:00:00:00:00:99 dev to-origin");
  expect_timeout(raw_tcp(captured.seat(), swallows, 80, get_request("/")), "connect, clear");
  expect_timeout(raw_https(captured.seat(), swallows, "origin.test", get_request("/")), "connect, TLS");
  ScriptedOrigin mute(captured.lab().origin(), 443, std::nullopt,
                      [](Peer& peer) { static_cast<void>(peer.stream().read_to_end()); });
  for (const auto* address : {kOriginV4, kOriginV6}) {
    expect_timeout(raw_https(captured.seat(), address, "origin.test", get_request("/")), "TLS handshake");
  }
  EXPECT_EQ(mute.connections(), 2U) << "each of the two was dialled once";
  EXPECT_EQ(captured.daemon().metric("tapdeck_upstream_errors_total", {"kind=\"timeout\""}), 4);
  expect_no_connection_left(captured.daemon());
}

TEST(Chaos, UpstreamWithABadCertificateIsNeverLaundered) {
  Captured captured;
  const std::vector<LeafOptions> bad = {
      {.dns = {"origin.test"}, .valid_from = std::chrono::hours(-48), .valid_to = std::chrono::hours(-24)},
      {.dns = {"elsewhere.test"}},
      {.dns = {"origin.test"}, .self_signed = true}};
  for (const auto& options : bad) {
    ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().ca().issue(options),
                          answers({{"/", ok_response("x")}}));
    const auto output = raw_https(captured.seat(), kOriginV4, "origin.test", get_request("/"));
    EXPECT_EQ(output.status, 35) << output.out << output.err;
    EXPECT_EQ(origin.requests(), 0U);
  }
  EXPECT_GT(captured.daemon().metric("tapdeck_tls_handshakes_total", {"side=\"upstream\"", "upstream_invalid"}), 0);
  expect_no_connection_left(captured.daemon());
}

TEST(Chaos, SmuggledRequestsAreRefusedAndNeverForwarded) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  const std::string host = "Host: origin.test\r\n";
  const std::vector<std::string> attacks = {
      "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
      "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
      "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
      "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n",
      "GET / HTTP/1.1\n" + host + "\r\n",
      "GET / HTTP/1.1\r\n" + host + "Host: other.test\r\n\r\n",
      "GET / HTTP/1.1\r\nX: no host\r\n\r\n"};
  for (const auto& attack : attacks) {
    const auto output = raw_tcp(captured.seat(), kOriginV4, 80, attack);
    EXPECT_THAT(output.out, ::testing::StartsWith("HTTP/1.1 400 ")) << attack;
  }
  EXPECT_EQ(origin.requests(), 0U);
  EXPECT_EQ(origin.heads(), 0U);
  expect_no_connection_left(captured.daemon());
}

}  // namespace
}  // namespace tapdeck::lab

// Chaos through the explicit listener. Each bad thing happens TAPDECK_CHAOS_REPEAT times (20; the bench target asks for
// 1000), is answered as it should be, leaves nothing behind, and the daemon goes on without a restart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/eventually.h"
#include "netns-tests/proxied.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string absolute(const std::string& url) {
  return "GET " + url + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
}

TEST(ProxyChaos, DualStackConnectFailuresAre502AndTheNextConnectSucceeds) {
  Proxied proxied;
  const std::vector<std::string> dead = {"origin.test:443", "v4.origin.test:443", "v6.origin.test:443",
                                         std::string(kOriginV4) + ":443", "[" + std::string(kOriginV6) + "]:443"};
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const auto& authority : dead) {
      const auto answer = proxied.ask(connect_request(authority));
      ASSERT_THAT(answer, StartsWith("HTTP/1.1 502 ")) << authority;
      ASSERT_THAT(answer, HasSubstr("\"error\":\"upstream_connect\"")) << authority;
    }
  }
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/", ok_response("back")}}));
  for (const auto& authority : dead) {
    const auto answer = proxied.ask_tls(authority, "origin.test", get_request("/"), proxied.daemon().client_ca());
    EXPECT_THAT(answer, HasSubstr("back")) << authority;
  }
  proxied.expect_no_connection_left();
}

TEST(ProxyChaos, OneDeadFamilyOfADualStackNameIsNoFailure) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("alive")}}));
  // "gateway.test" is 10.77.2.1 and 127.0.0.1; nobody listens on port 80 of either. "origin.test" has both families,
  // and IPv6 is cut off without a word.
  proxied.lab().gw().ip("-6 route add blackhole fd77:2::2/128");
  for (int i = 0; i < chaos_repeats(); ++i) {
    ASSERT_THAT(proxied.ask(absolute("http://gateway.test/")), StartsWith("HTTP/1.1 502 "));
    ASSERT_THAT(proxied.ask(absolute("http://origin.test/")), HasSubstr("alive"));
  }
  EXPECT_EQ(origin.requests(), static_cast<uint64_t>(chaos_repeats()));
  proxied.expect_no_connection_left();
}

TEST(ProxyChaos, DnsFailuresAre502WithTheirNameInEveryFormAndThenTheNextLookUpSucceeds) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("found")}}));
  const std::vector<std::pair<std::string, std::string>> failures = {{"nothing.test", "NXDOMAIN"},
                                                                     {"servfail.test", "SERVFAIL"},
                                                                     {"empty.test", "NODATA"},
                                                                     {"silent.test", "timeout"}};
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const auto& [host, which] : failures) {
      for (const auto& request : {absolute("http://" + host + "/"), connect_request(host + ":443")}) {
        const auto answer = proxied.ask(request);
        ASSERT_THAT(answer, StartsWith("HTTP/1.1 502 ")) << host;
        ASSERT_THAT(answer, HasSubstr("\"error\":\"upstream_dns\"")) << host;
        ASSERT_THAT(answer, HasSubstr(which)) << host;
      }
    }
    ASSERT_THAT(proxied.ask(absolute("http://origin.test/")), HasSubstr("found"));
  }
  EXPECT_EQ(proxied.daemon().metric("tapdeck_upstream_errors_total", {"dns"}), 8.0 * chaos_repeats());
  EXPECT_EQ(origin.requests(), static_cast<uint64_t>(chaos_repeats()));
  proxied.expect_no_connection_left();
}

TEST(ProxyChaos, UntrustingClientsFailInsideConnectThenATrustingOneSucceeds) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/", ok_response("mine")}}));
  const auto lab_ca = proxied.lab().ca().certificate();  // the origin's CA, not tapdeck's
  for (int i = 0; i < chaos_repeats(); ++i) {
    ASSERT_EQ(proxied.ask_tls("origin.test:443", "origin.test", get_request("/"), lab_ca), "");
  }
  EXPECT_EQ(origin.requests(), 0U);
  EXPECT_GE(proxied.daemon().metric("tapdeck_tls_handshakes_total", {"client_rejected_ca"}), double(chaos_repeats()));
  const auto answer = proxied.ask_tls("origin.test:443", "origin.test", get_request("/"), proxied.daemon().client_ca());
  EXPECT_THAT(answer, HasSubstr("mine"));
  proxied.expect_no_connection_left();
}

TEST(ProxyChaos, ClientsThatLeaveBeforeTheirConnectIsAnsweredLeaveNothing) {
  DaemonOptions options;
  options.sections["limits"] = "connect_timeout = \"60s\"\n";  // no time-out may do the work
  Proxied proxied(options);
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/", ok_response("x")}}));
  proxied.lab().gw().ip("neigh replace 10.77.2.99 lladdr 02:00:00:00:00:99 dev to-origin");  // swallows every SYN
  const std::vector<std::string> starts = {"",
                                           "CONN",
                                           "CONNECT origin.test:443 HTTP/1.1\r\nHo",
                                           connect_request("10.77.2.99:443"),
                                           connect_request("origin.test:443"),
                                           connect_request("origin.test:443") + "\x16\x03\x01"};
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const auto& start : starts) {
      Stream orderly = proxied.connect();
      orderly.send(start);
      Stream abrupt = proxied.connect();
      abrupt.send(start);
      abrupt.reset();
    }
  }
  proxied.expect_no_connection_left();
  EXPECT_EQ(origin.requests(), 0U);
  const auto answer = proxied.ask_tls("origin.test:443", "origin.test", get_request("/"), proxied.daemon().client_ca());
  EXPECT_THAT(answer, HasSubstr("200 OK"));
}

TEST(ProxyChaos, UpstreamThatBreaksOffIsToldInEitherFormAndTheNextRequestSucceeds) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    const auto target = target_of(peer.read_request());
    if (target == "/reset") return peer.stream().reset();
    if (target == "/half") peer.stream().send("HTTP/1.1 200 OK\r\nContent-Le");
    if (target == "/body") peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    if (target == "/fine") peer.stream().send(ok_response("fine"));
  });
  for (int i = 0; i < chaos_repeats(); ++i) {
    ASSERT_THAT(proxied.ask(absolute("http://origin.test/reset")), HasSubstr("\"upstream_reset\""));
    ASSERT_THAT(proxied.ask(absolute("http://origin.test/half")), HasSubstr("\"upstream_truncated\""));
    const auto cut = proxied.ask(absolute("http://origin.test/body"));
    ASSERT_THAT(cut, ::testing::Not(HasSubstr("\"error\""))) << "a response that began is broken off, not replaced";
    ASSERT_THAT(proxied.ask(absolute("http://origin.test/fine")), HasSubstr("fine"));
  }
  proxied.expect_no_connection_left();
}

}  // namespace
}  // namespace tapdeck::lab

// Record, switch the origin off, replay: what the client sees stays the same, byte for byte, for real clients, both
// address families and both capture paths.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

class RecordReplay : public ::testing::TestWithParam<CaptureBy> {};
INSTANTIATE_TEST_SUITE_P(Path, RecordReplay, ::testing::Values(CaptureBy::Cgroup, CaptureBy::Interface),
                         [](const auto& info) { return to_string(info.param); });

// Odd but legal: header case and order, a repeated header, an unusual reason, chunks with trailers, no body at all,
// a body that ends with the connection, 1xx before the answer.
std::map<std::string, std::string> odd_answers() {
  return {
      {"/length",
       "HTTP/1.1 200 Quite Fine\r\nx-lower: 1\r\nX-UPPER: 2\r\nSet-cookie2: a\r\nX-Twice: 1\r\nServer: t\r\n"
       "x-tWICE: 2\r\nContent-Length: 11\r\n\r\nhello world"},
      {"/chunked",
       "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n"
       "6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"},
      {"/empty", "HTTP/1.1 204 No Content\r\nX-Odd: yes\r\n\r\n"},
      {"/close", "HTTP/1.1 200 OK\r\nX-Ends: with the connection\r\n\r\n" + std::string(100000, 'z')},
      {"/early", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
      {"/zip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x01\x02"},
  };
}

TEST_P(RecordReplay, RawBytesAreTheSameAfterTheOriginIsGone) {
  Captured captured(GetParam());
  const auto wanted = odd_answers();
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 443, captured.lab().leaf(), answers(wanted));
  const auto ask = [&](const std::string& address, const std::string& path) {
    return raw_https(captured.seat(), address, "origin.test", get_request(path));
  };
  std::map<std::string, Output> recorded;
  for (const auto* address : {kOriginV4, kOriginV6}) {
    for (const auto& [path, answer] : wanted) {
      auto& output = recorded[address + path] = ask(address, path);
      ASSERT_EQ(output.status, 0) << path << ": " << output.err;
      EXPECT_EQ(parse_raw(output.out), parse_raw(answer)) << "recording already changed " << path;
    }
  }
  origin->stop();
  captured.replay();
  for (const auto* address : {kOriginV4, kOriginV6}) {
    for (const auto& [path, answer] : wanted) {
      const auto output = ask(address, path);
      EXPECT_EQ(parse_raw(output.out), parse_raw(recorded[address + path].out)) << address << path << output.err;
    }
  }
  EXPECT_EQ(captured.daemon().metric("tapdeck_requests_total", {"outcome=\"replayed\""}), 2.0 * double(wanted.size()));
}

TEST_P(RecordReplay, EveryRealClientSeesTheSameAnswerTwice) {
  Captured captured(GetParam());
  NginxOrigin origin(captured.lab(),
                     {{"hello.json", "{\"hello\": \"world\"}\n"}, {"big.txt", std::string(300000, 'b')}});
  std::vector<std::pair<std::string, std::string>> asks;
  for (const auto& kind : client_kinds()) {
    for (const auto* host : {"v4.origin.test", "v6.origin.test"}) asks.emplace_back(kind, host);
  }
  // Without SNI: the leaf is for the address that was dialled.
  for (const auto& literal : {std::string(kOriginV4), "[" + std::string(kOriginV6) + "]"}) {
    asks.emplace_back("curl", literal);
  }
  std::map<std::string, std::string> recorded;
  for (const auto& [kind, host] : asks) {
    for (const std::string path : {"/hello.json", "/big.txt"}) {
      recorded[kind + host + path] = fetch(kind, captured.seat(), host, path);
    }
  }
  EXPECT_THAT(recorded["curlv4.origin.test/hello.json"], HasSubstr("{\"hello\": \"world\"}"));
  origin.stop();
  captured.replay();
  for (const auto& [kind, host] : asks) {
    for (const std::string path : {"/hello.json", "/big.txt"}) {
      EXPECT_EQ(fetch(kind, captured.seat(), host, path), recorded[kind + host + path]) << kind << " " << host << path;
    }
  }
}

// As Ruby, Perl's Mojolicious, libsoup and gRPC's C core send it, although an address is no name (RFC 6066 3).
TEST_P(RecordReplay, AnAddressSentAsServerNameIsRecordedAndReplayed) {
  Captured captured(GetParam());
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(), answers({{"/", ok_response("mine")}}));
  const std::string literal = "[" + std::string(kOriginV6) + "]";
  const auto ask = [&](const std::string& name) {
    return run_in(captured.seat(),
                  {"openssl", "s_client", "-quiet", "-ign_eof", "-verify_return_error", "-CAfile", captured.seat().ca,
                   "-verify_ip", kOriginV6, "-connect", literal + ":443", "-servername", name, "-alpn", "http/1.1"},
                  "GET / HTTP/1.1\r\nHost: " + literal + "\r\nConnection: close\r\n\r\n");
  };
  for (const std::string& name : {std::string(kOriginV6), literal}) {
    EXPECT_THAT(ask(name).out, ::testing::EndsWith("mine")) << name;
  }
  EXPECT_EQ(captured.recordings(), 2U);
  origin.stop();
  captured.replay();
  for (const std::string& name : {std::string(kOriginV6), literal}) {
    EXPECT_THAT(ask(name).out, ::testing::EndsWith("mine")) << name;
  }
}

// Java's HttpClient, curl --http2 and nghttp -u offer it with every request in clear.
TEST_P(RecordReplay, AnOfferOfHttp2InClearDoesNotReachTheOrigin) {
  Captured captured(GetParam());
  std::string seen;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    seen = peer.read_request();
    peer.stream().send(seen.contains("h2c") ? "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"
                                            : ok_response("in clear"));
  });
  const auto ask = [&] { return run_in(captured.seat(), {"curl", "-sS", "--http2", "http://v4.origin.test/"}); };
  EXPECT_EQ(ask().out, "in clear");
  EXPECT_EQ(captured.recordings(), 1U);
  origin.stop();
  EXPECT_THAT(seen, HasSubstr("Host: v4.origin.test\r\n"));
  EXPECT_THAT(seen, ::testing::Not(HasSubstr("HTTP2-Settings")));
  captured.replay();
  EXPECT_EQ(ask().out, "in clear");
}

TEST_P(RecordReplay, RepeatsAreAnsweredInTheirOrderAndThenTheLastOne) {
  Captured captured(GetParam());
  int count = 0;
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("n" + std::to_string(++count)));
  });
  const auto ask = [&] { return parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/n")).out).body; };
  EXPECT_EQ(ask() + ask() + ask(), "n1n2n3");
  origin->stop();
  captured.replay();
  EXPECT_EQ(ask() + ask() + ask() + ask(), "n1n2n3n3");
}

TEST_P(RecordReplay, MissExplainsItselfAndNamesTheNearestRecording) {
  Captured captured(GetParam());
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/orders?page=1", ok_response("one")}}));
  ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/orders?page=1")).status, 0);
  captured.replay();
  const auto response = parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/orders?page=2")).out);
  EXPECT_THAT(response.status_line, HasSubstr("502"));
  const auto json = nlohmann::json::parse(response.body, nullptr, false);
  ASSERT_TRUE(json.is_object()) << response.body;
  EXPECT_EQ(json.value("error", ""), "not_recorded");
  EXPECT_EQ(json["nearest"].at(0)["differs"].size(), 1U) << response.body;
  EXPECT_TRUE(json["nearest"].at(0)["id"].is_string()) << "as `recording list --json` has it";
  EXPECT_EQ(origin.requests(), 1U) << "replay went to the origin";
}

TEST_P(RecordReplay, ClientStillSeesTheAddressesItAskedFor) {
  Captured captured(GetParam());
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  EXPECT_THAT(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).err,
              HasSubstr("peer 10.77.2.2:80\nlocal 10.77.1.2:"));
  EXPECT_THAT(raw_tcp(captured.seat(), kOriginV6, 80, get_request("/")).err,
              HasSubstr("peer [fd77:2::2]:80\nlocal [fd77:1::2]:"));
}

TEST(Redaction, CredentialsAreNowhereInTheStateDirectoryButStillMatch) {
  Captured captured;
  const std::string secret = "planted-secret-1d7f";
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/private", ok_response("mine")}}));
  const auto request = get_request("/private", "Authorization: Bearer " + secret + "\r\n");
  ASSERT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, request).out).body, "mine");
  captured.replay();
  EXPECT_EQ(parse_raw(raw_tcp(captured.seat(), kOriginV4, 80, request).out).body, "mine");
  captured.daemon().stop();
  EXPECT_EQ(run_to_end({"grep", "-r", "-l", secret, captured.daemon().state()}).out, "");
}

}  // namespace
}  // namespace tapdeck::lab

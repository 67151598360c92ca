// What an H1Codec refuses. Each case runs whole and cut at every byte; none may yield a head.
#include "daemon/http/h1_guard.h"

#include <gtest/gtest.h>

#include <string>

#include "daemon/http/h1_check.h"
#include "daemon/http/h1_syntax.h"

namespace tapdeck::http {
namespace {

using namespace std::string_literals;  // literals with NUL bytes

constexpr std::string_view kHost = "Host: a\r\n";

std::string get(std::string_view lines) {
  return "GET / HTTP/1.1\r\n" + std::string(kHost) + std::string(lines) + "\r\n";
}
std::string post(std::string_view lines, std::string_view body) {
  return "POST / HTTP/1.1\r\n" + std::string(kHost) + std::string(lines) + "\r\n" + std::string(body);
}
std::string reply(std::string_view lines, std::string_view body = {}) {
  return "HTTP/1.1 200 OK\r\n" + std::string(lines) + "\r\n" + std::string(body);
}

void expect_refused(const std::string& bytes, const TranscriptOptions& options = server()) {
  EXPECT_EQ(events(bytes, options), "error protocol\n") << Transcript::quoted(bytes);
}
// Refused in the body, after a head that was right.
void expect_body_refused(const std::string& bytes, const TranscriptOptions& options = server()) {
  const std::string text = events(bytes, options);
  EXPECT_TRUE(text.ends_with("error protocol\n")) << text;
  EXPECT_EQ(text.find("complete"), std::string::npos) << text;
}

TEST(H1Guard, LineEndsOtherThanCrlfAreRefused) {
  expect_refused("GET / HTTP/1.1\nHost: a\n\n");
  expect_refused("GET / HTTP/1.1\r\nHost: a\n\r\n");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\n\nGET / HTTP/1.1\r\n\r\n");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nA: b\rX: y\r\n\r\n");
  expect_refused("GET / HTTP/1.1\rHost: a\r\n\r\n");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n");
  expect_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("HTTP/1.1 200 OK\nContent-Length: 0\n\n", client());
  expect_refused("HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", client());
}

TEST(H1Guard, TooManyFieldsAreToldFromTooManyBytes) {
  const auto error_of = [](const std::string& bytes) {
    auto codec = make_h1_codec(Role::Server, {.head_bytes = 100, .headers = 2});
    codec->input().append(bytes);
    const auto event = codec->next();
    return event ? Error{} : event.error();
  };
  EXPECT_TRUE(is_field_limit(error_of(get("A: b\r\nC: d\r\n"))));
  const Error bytes = error_of(get("A: " + std::string(100, 'b') + "\r\n"));
  EXPECT_EQ(bytes.code, Code::TooLarge);
  EXPECT_FALSE(is_field_limit(bytes));
}

// What the first call that fails says of `bytes`.
Error refusal_of(H1Codec& codec, Role role, const std::string& bytes) {
  RequestHead asked;
  asked.method = "GET";
  asked.target = "/";
  asked.authority = "a";
  if (role == Role::Client) EXPECT_TRUE(codec.send_request(asked, EndStream::Yes));
  codec.input().append(bytes);
  while (true) {
    const auto event = codec.next();
    if (!event) return event.error();
    if (*event) continue;
    const auto ended = codec.end_of_input();
    return ended ? Error{} : ended.error();
  }
}

TEST(H1Guard, WhatLeavesOpenWhereARequestEndsIsToldApart) {
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  for (const std::string& bytes :
       {get("Content-Length: 1\r\nContent-Length: 1\r\n"), get("Content-Length: +1\r\n"),
        get(chunked + "Content-Length: 1\r\n"), get(chunked + chunked), get("Transfer-Encoding: gzip\r\n"),
        get("A: b\r\n c\r\n"), get("A : b\r\n"), get("A\r\n"), get("A: \x01\r\n"), get("A: b\rC: d\r\n"),
        std::string("GET / HTTP/1.1\nHost: a\n\n"), post(chunked, "x\r\n"), post(chunked, "1;\x01\r\n"),
        post(chunked, "1\r\nabc\r\n"), post(chunked, "0\r\nContent-Length: 1\r\n\r\n"),
        std::string("CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")}) {
    H1Codec codec(Role::Server, {}, "http");
    EXPECT_EQ(refusal_of(codec, Role::Server, bytes).code, Code::Protocol) << Transcript::quoted(bytes);
    EXPECT_TRUE(codec.ended_ambiguously()) << Transcript::quoted(bytes);
  }
  for (const std::string& bytes :
       {std::string("GET / HTTP/3.1\r\n"), std::string("GET /\r\n"), std::string("G\x01T / HTTP/1.1\r\n"),
        std::string("GET /\xe9 HTTP/1.1\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"), get("Host: b\r\n"),
        get("A: " + std::string(70000, 'b') + "\r\n"), post("Content-Length: 9\r\n", "half"),
        post(chunked, "9\r\nhalf"), std::string("FOO BAR BAZ\r\n")}) {
    H1Codec codec(Role::Server, {}, "http");
    const Error refusal = refusal_of(codec, Role::Server, bytes);
    EXPECT_FALSE(refusal.detail.empty()) << Transcript::quoted(bytes);
    EXPECT_FALSE(codec.ended_ambiguously()) << Transcript::quoted(bytes);
  }
  H1Codec client(Role::Client, {}, "http");
  const Error origins = refusal_of(client, Role::Client, reply("Content-Length: 1\r\nContent-Length: 1\r\n"));
  EXPECT_EQ(origins.code, Code::Protocol);
  EXPECT_FALSE(client.ended_ambiguously()) << "of a response";
}

TEST(H1Guard, FoldedLinesAndSpacesAroundNamesAreRefused) {
  expect_refused(get("A: b\r\n c\r\n"));
  expect_refused(get("A: b\r\n\tc\r\n"));
  expect_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n");
  expect_refused(get("A : b\r\n"));
  expect_refused(get("A\t: b\r\n"));
  expect_refused(reply("A b : c\r\nContent-Length: 0\r\n"), client());
  expect_refused(reply(" : c\r\nContent-Length: 0\r\n"), client());
  expect_refused(reply(" A: b\r\nContent-Length: 0\r\n"), client());
  expect_refused(reply("A: b\r\n c\r\nContent-Length: 0\r\n"), client());
}

TEST(H1Guard, HeaderNamesMustBeTokensAndValuesFreeOfControlBytes) {
  expect_refused(get("A b: c\r\n"));
  expect_refused(get("no colon\r\n"));
  expect_refused(get("A@: c\r\n"));
  expect_refused(get("A\x80: c\r\n"));
  expect_refused(get("A\0: c\r\n"s));
  expect_refused(get("A: b\0c\r\n"s));
  expect_refused(get("A: b\x01\r\n"));
  expect_refused(get("A: b\x7f\r\n"));
  expect_refused(get("A: b\x0b\r\n"));
  EXPECT_NE(events(get("A: tab\there \xc3\xa9\r\n")).find("A: tab\there \xc3\xa9"), std::string::npos);
}

TEST(H1Guard, RequestLineMustBeExact) {
  expect_refused("GET /\r\n");  // HTTP/0.9
  expect_refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n");
  expect_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n");
  expect_refused("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
  expect_refused("GET / http/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET /  HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
  expect_refused(" GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("G(T / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  expect_refused("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s);
  expect_refused("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET a HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_refused("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(H1Guard, StatusLineMustBeExact) {
  expect_refused("HTTP/1.1 2 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("ICY 200 OK\r\nContent-Length: 0\r\n\r\n", client());
  expect_refused("HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"s, client());
  expect_refused("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", client());
}

TEST(H1Guard, HostMustBeThereOnceAndPlain) {
  expect_refused("GET / HTTP/1.1\r\n\r\n");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
  expect_refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n");
  for (const char* host :
       {"", "a b", "a,b", "user@a", "a/b", "a:b", "a:99999", "[::1", "::1", "a:1:2", "a\"b", "a?b"}) {
    expect_refused("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
  }
  for (const char* host : {"a", "a:80", "a:", "[::1]", "[::1]:8443", "127.0.0.1", "x_y.example", "xn--bcher-kva.de."}) {
    EXPECT_NE(events("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n").find("complete"), std::string::npos)
        << host;
  }
}

TEST(H1Guard, TransferEncodingIsChunkedAloneOrRefused) {
  for (const char* value : {"identity", "identity, chunked", "chunked, identity", "gzip, chunked", "chunked, chunked",
                            "chunkedchunked", "xchunked", "chunked;q=1", "", "\"chunked\"", "chunked,"}) {
    expect_refused(post("Transfer-Encoding: " + std::string(value) + "\r\n", "0\r\n\r\n"));
    expect_refused(reply("Transfer-Encoding: " + std::string(value) + "\r\n", "0\r\n\r\n"), client());
  }
  expect_refused(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  expect_refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  expect_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", client());
  expect_refused(post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
  expect_refused(
      post("Transfer-Encoding: \x0b"
           "chunked\r\n",
           "0\r\n\r\n"));
}

TEST(H1Guard, ContentLengthIsOneNumberOrRefused) {
  for (const char* value : {"", "+3", "-3", "3, 3", "3,3", "0x3", "3 3", "3.0", "9223372036854775808",
                            "18446744073709551616", "18446744073709551619", "three"}) {
    expect_refused(post("Content-Length: " + std::string(value) + "\r\n", "abc"));
    expect_refused(reply("Content-Length: " + std::string(value) + "\r\n", "abc"), client());
  }
  expect_refused(post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"));
  expect_refused(post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"));
  expect_refused(reply("Content-Length: 3\r\ncontent-length: 3\r\n", "abc"), client());
}

TEST(H1Guard, LengthAndEncodingTogetherAreRefused) {
  expect_refused(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  expect_refused(post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"));
  expect_refused(reply("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), client());
  expect_refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  expect_refused("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  expect_refused("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", client());
  expect_refused("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", client());
  expect_refused("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", client());
}

TEST(H1Guard, BlanksThatAnOriginPutsBehindANameOrASizeAreTakenOut) {
  EXPECT_EQ(events(reply("A : b\r\nContent-Length\t : 2\r\nX: c : d\r\n", "ok"), client()),
            "head 1 200 \"OK\" 1.1\n  A: b\n  Content-Length: 2\n  X: c : d\nbody \"ok\"\ncomplete 1\n");
  EXPECT_EQ(
      events(reply("Transfer-Encoding : chunked\r\n", "2  \r\nok\r\n1 ;a=b\r\n!\r\n0\t\r\nT : u\r\n\r\n"), client()),
      "head 1 200 \"OK\" 1.1\n  Transfer-Encoding: chunked\nchunk 2\nbody \"ok\"\nchunk 1;a=b\nbody \"!\"\n"
      "trailers 1\n  T: u\ncomplete 1\n");
  expect_refused(reply("Content-Length : 2\r\nTransfer-Encoding : chunked\r\n"), client());
  expect_refused(reply("Content-Length : 2\r\nContent-Length: 3\r\n"), client());
}

TEST(H1Guard, ChunkSizesMustBePlainHex) {
  for (const char* size : {"",
                           "0x3",
                           " 3",
                           "3 ",
                           "+3",
                           "-3",
                           "g",
                           "3\t",
                           "10000000000000003",
                           "8000000000000000",
                           "FFFFFFFFFFFFFFFF",
                           "00000000000000003",
                           "3\n",
                           "3\r",
                           "3 ;a=b",
                           ";a=b",
                           "3;",
                           "3;=b",
                           "3;a=",
                           "3;a=\"b",
                           "3;a=\"\x01\"",
                           "3; a=b",
                           "3;a b",
                           "3;a\x01",
                           "3;a\x7f"}) {
    expect_body_refused(post("Transfer-Encoding: chunked\r\n", std::string(size) + "\r\nabc\r\n0\r\n\r\n"));
    const std::string_view text(size);
    if (text == "3 " || text == "3\t" || text == "3 ;a=b") continue;  // padded, as some origins do
    expect_body_refused(reply("Transfer-Encoding: chunked\r\n", std::string(size) + "\r\nabc\r\n0\r\n\r\n"), client());
  }
}

TEST(H1Guard, ChunkDataMustEndInCrlf) {
  for (const char* body : {"3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabc\r0\r\n\r\n",
                           "3\r\nabc\r\r\n0\r\n\r\n"}) {
    const std::string text = events(post("Transfer-Encoding: chunked\r\n", body));
    EXPECT_TRUE(text.ends_with("\n") && text.find("error ") != std::string::npos) << text;
    EXPECT_EQ(text.find("complete"), std::string::npos) << text;
  }
}

TEST(H1Guard, TrailersMustBeCleanAndMayNotFrame) {
  for (const char* trailer : {"Content-Length: 5", "transfer-encoding: chunked", "Host: b", "A : b", " A: b", "A",
                              ": b", "A: b\r\n c", "A: \x01"}) {
    expect_body_refused(post("Transfer-Encoding: chunked\r\n", "0\r\n" + std::string(trailer) + "\r\n\r\n"));
  }
  expect_body_refused(post("Transfer-Encoding: chunked\r\n", "0\r\nA: b\n\r\n"));
  expect_body_refused(post("Transfer-Encoding: chunked\r\n", "0\r\n\n"));
}

TEST(H1Guard, LimitsOnBytesAndFieldsHoldForHeadAndTrailersApart) {
  TranscriptOptions options = server();
  options.limits = {.head_bytes = 64, .headers = 3};
  const std::string exact = "GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(64 - 16 - 9 - 5 - 2, 'x') + "\r\n\r\n";
  ASSERT_EQ(exact.size(), 64u);
  EXPECT_TRUE(events(exact, options).ends_with("complete 1\n"));
  EXPECT_EQ(events("GET /" + exact.substr(4), options), "error too_large\n");
  EXPECT_EQ(events("GET /" + std::string(100, 'x'), options), "error too_large\n");
  EXPECT_EQ(events("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", options), "error too_large\n");
  options.limits.head_bytes = 80;
  const std::string chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  EXPECT_TRUE(events(chunked + "A: " + std::string(73, 'x') + "\r\n\r\n", options).ends_with("complete 1\n"));
  EXPECT_TRUE(events(chunked + "A: " + std::string(74, 'x') + "\r\n\r\n", options).ends_with("error too_large\n"));
  EXPECT_TRUE(events(chunked + "A:\r\nB:\r\nC:\r\nD:\r\n\r\n", options).ends_with("error too_large\n"));
}

// ---- public failures of other proxies, by class

TEST(H1Cve, Cve2021_40346_LengthOverflowInHeaderName) {
  expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length0" + std::string(255, 'a') +
                 ":\r\nContent-Length: 18446744073709551615\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
}
TEST(H1Cve, Cve2023_25725_EmptyHeaderNameDropsTheRest) {
  expect_refused(post(": x\r\nContent-Length: 3\r\n", "abc"));
}
TEST(H1Cve, Cve2023_40225_EmptyContentLength) {
  expect_refused(post("Content-Length: \r\n", "GET /x HTTP/1.1\r\n\r\n"));
}
TEST(H1Cve, Cve2023_30589_LoneCrEndsAHeader) {
  expect_refused(post("X: y\rContent-Length: 3\r\n", "abc"));
}
TEST(H1Cve, Cve2021_39214_ControlBytesAroundChunked) {
  expect_refused(post("Transfer-Encoding: chunked\x0c\r\n", "0\r\n\r\n"));
  expect_refused(post("Transfer-Encoding\x0b: chunked\r\n", "0\r\n\r\n"));
}
TEST(H1Cve, Cve2022_24766_SpaceBeforeColon) {
  expect_refused(post("Content-Length : 3\r\nContent-Length: 0\r\n", "abc"));
}
TEST(H1Cve, Cve2020_15810_15811_SplitByContentLengthAndChunked) {
  expect_refused(post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"));
  expect_refused(post("Content-Length: 6\r\nTransfer-Encoding:\tchunked\r\n", "0\r\n\r\nG"));
}
TEST(H1Cve, Cve2023_46846_ChunkExtensionWithBareLineEnd) {
  expect_body_refused(post("Transfer-Encoding: chunked\r\n", "1;a\nX\r\na\r\n0\r\n\r\n"));
}
TEST(H1Cve, Cve2023_39326_ChunkExtensionsAreBounded) {
  const std::string head = post("Transfer-Encoding: chunked\r\n", "");
  TranscriptOptions told = server();
  told.show_detail = true;
  const auto refusal_of = [&](const std::string& body) {
    const std::string text = events(head + body, told);
    return text.substr(text.rfind("error "));
  };
  EXPECT_EQ(refusal_of("1;" + std::string(2000, 'x') + "\r\na\r\n"),
            "error protocol: malformed request: chunk line longer than 1024 bytes\n");
  std::string many;
  for (int i = 0; i < 17; ++i) many += "1;" + std::string(1000, 'x') + "\r\na\r\n";
  EXPECT_EQ(refusal_of(many + "0\r\n\r\n"),
            "error protocol: malformed request: chunk extensions longer than 16384 bytes\n");
}
TEST(H1Cve, Cve2019_9900_NulInHeaderValue) {
  expect_refused(get("X-Role: user\0admin\r\n"s));
}
TEST(H1Cve, Cve2024_23326_UpgradeWithout101IsNoTunnel) {
  EXPECT_EQ(events(reply("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "hi"),
                   client({"GET upgrade"})),
            "head 1 200 \"OK\" 1.1\n  Connection: upgrade\n  Upgrade: websocket\n  Content-Length: 2\nbody \"hi\"\n"
            "complete 1\n");
  expect_refused("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", client({"GET"}));
}
TEST(H1Cve, Cve2025_64763_BytesAfterARefusedConnectAreNotRequests) {
  TranscriptOptions options = server();
  options.answer = 403;
  const std::string connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
  const std::string bytes = connect + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string refused = "head 1 CONNECT a:1 1.1 http a:1 end\n  Host: a:1\ncomplete 1\n";
  EXPECT_EQ(transcript(bytes, options), refused);
  for (size_t at = 1; at < bytes.size(); ++at) {
    EXPECT_EQ(transcript_cut(bytes, at, options), refused) << at;
  }
}
TEST(H1Cve, Cve2009_0801_TargetAndHostCannotDisagreeDownstreamOfUs) {
  EXPECT_NE(events("GET http://real/ HTTP/1.1\r\nHost: forged\r\n\r\n").find("  Host: real\n"), std::string::npos);
}
TEST(H1Cve, Cve2013_4547_SpaceInTheTarget) {
  expect_refused("GET /x \0.php HTTP/1.1\r\nHost: a\r\n\r\n"s);
  expect_refused("GET /x .php HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(H1Syntax, ChunkSizeAndLengthStopAtSixtyThreeBits) {
  EXPECT_EQ(parse_chunk_size("7fffffffffffffff"), uint64_t{INT64_MAX});
  EXPECT_EQ(parse_chunk_size("8000000000000000"), std::nullopt);
  EXPECT_EQ(parse_length("9223372036854775807"), uint64_t{INT64_MAX});
  EXPECT_EQ(parse_length("9223372036854775808"), std::nullopt);
}

TEST(H1Syntax, TheFastLookAtValuesAgreesWithTheTableForEveryByteAtEveryPlace) {
  for (unsigned c = 0; c < 256; ++c) {
    const bool legal = (kByteClass[c] & kValueByte) != 0;
    for (const size_t place : {0U, 7U, 16U, 32U, 39U}) {
      std::string value(40, 'v');
      value[place] = static_cast<char>(c);
      EXPECT_EQ(is_field_value(value), legal) << "byte " << c << " at " << place;
      EXPECT_EQ(is_field_value(value.substr(place, 1)), legal) << "byte " << c << " alone";
    }
  }
  EXPECT_TRUE(is_field_value(""));
}

}  // namespace
}  // namespace tapdeck::http

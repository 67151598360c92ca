#include "daemon/server/sniff.h"

#include <gtest/gtest.h>

#include <string>

namespace tapdeck::server {
namespace {

// However it is cut, what came first never says something else than the whole.
void expect_whole_and_cut(std::string_view bytes, Protocol protocol) {
  EXPECT_EQ(sniff(bytes).protocol, protocol) << bytes;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Protocol early = sniff(bytes.substr(0, size)).protocol;
    EXPECT_TRUE(early == Protocol::NeedMore || early == protocol) << bytes.substr(0, size);
  }
}

TEST(Sniff, KnowsHttpByItsWholeFirstLine) {
  for (const char* head :
       {"GET / HTTP/1.1\r\n", "GET / HTTP/1.0\n\n", "OPTIONS * HTTP/1.1\r\n", "CONNECT a:443 HTTP/1.1\r\n",
        "UPDATEREDIRECTREF /x HTTP/1.1\r\n", "M-SEARCH * HTTP/1.1\r\n", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nPOST / HTTP/1.1\r\n", "SOURCE /live HTTP/1.0\r\n", "GET foo HTTP/1.1\r\n"}) {
    expect_whole_and_cut(head, Protocol::Http1);
  }
}

TEST(Sniff, LeavesMalformedRequestsToTheParsers) {
  for (const char* head : {"GET  / HTTP/1.1\r\n", "GET /  HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n", "get / HTTP/1.1\r\n",
                           "NOSUCH /x HTTP/1.1\r\n", "GET / HTTP/2.7\r\n", "GET / HTTP/1.10\r\n", "GET / http/1.1\r\n",
                           "GET /a b c HTTP/1.1\r\n", "GET / HTTP/1.1 more\r\n", "GET /\tHTTP/1.1\r\n",
                           "GET / HTTP/1.1\rHost: a\r\n\r\n", "GET /a\rb HTTP/1.1\r\n", "GET /\x01 HTTP/1.1\r\n",
                           "GET /a\r\r\rb\r c HTTP/1.1\r\n", "GET /a\rb HTTP/1.1\rHost: a\r\n"}) {
    expect_whole_and_cut(head, Protocol::Http1);
  }
}

// The codec says that it knows no such method (501), or that it is none (400).
TEST(Sniff, KnowsARequestLineByItsThreeWordsWhateverItsMethodIs) {
  for (const char* head :
       {"FOO2 /x HTTP/1.1\r\n", "X!Y /x HTTP/1.1\r\n", "A.B /x HTTP/1.0\n", "FOO+BAR * HTTP/1.1\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ /x HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n2 http://a/ HTTP/1.1\r\n",
        "GE(T /x HTTP/1.1\r\n", "GET: /x HTTP/1.1\r\n", "GET/ / HTTP/1.1\r\n", "0033 foo HTTP/2.7\r\n"}) {
    expect_whole_and_cut(head, Protocol::Http1);
  }
  expect_whole_and_cut(std::string(300, 'A') + " /x HTTP/1.1\r\n", Protocol::Http1);
}

TEST(Sniff, TakesNothingElseThatBeginsWithAnOddWordForHttp) {
  for (const std::string& bytes :
       {std::string("0033git-upload-pack /project.git\0host=a\0", 40), std::string("2024-01-01 INFO GET /x HTTP/1.1\n"),
        std::string("{\"a\": 1 HTTP/1.1\n"), std::string("<34>app GET HTTP/1.1\n"), std::string("SSH-2.0-x y\r\n"),
        std::string("a=1 b HTTP/1.1 200\n"), std::string("A1 LOGIN x\r\n"), std::string("FOO2 / HTTP/1\r\n"),
        std::string("A1  HTTP/1.1\r\n"), std::string("A1 x HTTP/1.1\rHost: a\r\n"), std::string("A1 HTTP/1.1\r\n")}) {
    expect_whole_and_cut(bytes, Protocol::Opaque);
  }
  EXPECT_EQ(sniff("0033git-upload-pack /project.git").nearest, Protocol::Opaque) << "no line has to follow";
  EXPECT_EQ(sniff("{\"a\":1}").protocol, Protocol::Opaque) << "at once";
  EXPECT_EQ(sniff("a1 LOGIN x").protocol, Protocol::Opaque) << "at once";
}

TEST(Sniff, DoesNotTakeOtherProtocolsOfLinesForHttp) {
  for (const char* bytes : {"OPTIONS rtsp://10.0.0.1:8554/cam RTSP/1.0\r\n",
                            "REGISTER sip:a@b SIP/2.0\r\n",
                            "OPTIONS icap://10.0.0.1/s ICAP/1.0\r\n",
                            "GET hosts\nColumns: name\n\n",
                            "GET foo\r\n",
                            "SET foo bar\r\n",
                            "CHECK SPAMC/1.5\r\n",
                            "SOURCE /live ICE/1.0\r\n",
                            "NICK bob\r\n",
                            "PASS x\r\n",
                            "LIST UPS\n",
                            "SCAN /tmp/x\n",
                            "AUEP 1 x MGCP 1.0\r\n",
                            "CONNECT {\"verbose\":false}\r\n",
                            "CONNECT\naccept-version:1.2\n",
                            "GET /x\n",
                            "SERVERS 42 123456\n",
                            "get foo\r\n",
                            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n",
                            "web nginx: \"GET / HTTP/1.1\" 200\n",
                            "EHLO x\r\n"}) {
    expect_whole_and_cut(bytes, Protocol::Opaque);
  }
}

TEST(Sniff, WaitsAsLongAsTheBytesMayStillBecomeSomething) {
  for (const char* head : {"", "G", "GET", "GET ", "\r", "\r\n", "PRI * HTTP/2.0\r\n", "\x16", "\x16\x03",
                           "GET / HTTP/1.1", "SUBSCRIBE"}) {
    EXPECT_EQ(sniff(head).protocol, Protocol::NeedMore) << head;
  }
}

TEST(Sniff, SaysWhatAnUnfinishedLineComesNearestTo) {
  for (const char* head : {"GET /", "POST http://a", "POST HTTPS://a/b HT", "OPTIONS *", "CONNECT a:443 H"}) {
    EXPECT_EQ(sniff(head).nearest, Protocol::Http1) << head;
  }
  for (const char* head : {"GETX", "FOO ", "g", "GET hosts", "PING", "CONNECT {\"a\":1", "OPTIONS rtsp:/"}) {
    EXPECT_EQ(sniff(head).nearest, Protocol::Opaque) << head;
    EXPECT_FALSE(sniff(head).is_in_method) << head;
  }
  for (const char* head : {"\x16\x03", "PRI * HTTP/2.0\r\n\r\n"}) {
    EXPECT_EQ(sniff(head).nearest, Protocol::NeedMore) << head;
  }
}

// A client may stop anywhere, and a tunnel would show its origin the piece that there is.
TEST(Sniff, HoldsTheBeginningOfAMethodForHttpHoweverLittleItIs) {
  for (const char* head : {"G", "GE", "GET", "GET ", "GET  ", "POST", "H", "M-SEARCH", "SUBSCRIBE", "UNSUB", "\r",
                           "\r\n", "\r\n\r\nPO", "\r\n\r"}) {
    EXPECT_EQ(sniff(head).protocol, Protocol::NeedMore) << head;
    EXPECT_EQ(sniff(head).nearest, Protocol::Http1) << head;
    EXPECT_TRUE(sniff(head).is_in_method) << head;
  }
  for (const char* head : {"P", "PR", "PRI", "PRI ", "PRI *"}) {
    EXPECT_EQ(sniff(head).protocol, Protocol::NeedMore) << head;
    EXPECT_NE(sniff(head).nearest, Protocol::Opaque) << head;
  }
  for (const char* head : {"GET /", "GET h", "GET /a HTTP/1.1\r\n", "PING\r\n", "GET\r\n", "*1\r\n"}) {
    EXPECT_FALSE(sniff(head).is_in_method) << head;
  }
}

TEST(Sniff, WaitsForNoLineWithoutEnd) {
  EXPECT_EQ(sniff("GET /" + std::string(9000, 'x')).protocol, Protocol::Http1);
  EXPECT_EQ(sniff("GET " + std::string(9000, 'x')).protocol, Protocol::Opaque);
  std::string empty_lines;
  while (empty_lines.size() < 9000) empty_lines += "\r\n";
  EXPECT_EQ(sniff(empty_lines).protocol, Protocol::Opaque);
}

TEST(Sniff, JudgesALongLineByTheSameBytesHoweverItIsCut) {
  expect_whole_and_cut("GET foo" + std::string(8500, 'x') + " HTTP/1.1\r\n", Protocol::Opaque);
  expect_whole_and_cut("GET /" + std::string(8500, 'x') + " ICE/1.0\r\n", Protocol::Http1);
}

// A look at every CR, again after each byte, would take many minutes here.
TEST(Sniff, LooksAtTheFirstBareCrOnly) {
  expect_whole_and_cut("GET /" + std::string(16000, '\r'), Protocol::Http1);
  expect_whole_and_cut("GET foo" + std::string(16000, '\r'), Protocol::Opaque);
  expect_whole_and_cut("GET /a\rb c HTTP/1.1\rHost: a\r\n", Protocol::Opaque);
}

TEST(Sniff, KnowsTheHttp2PrefaceButNotItsLookalike) {
  expect_whole_and_cut("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2);
  expect_whole_and_cut("PRI * HTTP/1.1\r\n", Protocol::Http1);
}

TEST(Sniff, LeavesWhatHasThePrefacesShapeToTheParsers) {
  expect_whole_and_cut("INVALID CONNECTION PREFACE\r\n\r\n", Protocol::Http1);
  expect_whole_and_cut("SCAN ALL FILES\r\nSCAN", Protocol::Opaque);
  EXPECT_EQ(sniff("SCAN ALL FILES\r\n").protocol, Protocol::NeedMore);
  EXPECT_EQ(sniff("SCAN ALL FILES\r\n").nearest, Protocol::Opaque) << "a short wait";
  EXPECT_EQ(sniff("SCAN ALL FILES\n\n").protocol, Protocol::Opaque);
  EXPECT_EQ(sniff("SCAN FILES\r\n\r\n").protocol, Protocol::Opaque);
}

TEST(Sniff, TakesEverythingElseForOpaqueAtOnce) {
  for (const char* bytes : {"\x01\x02", " GET /", "GET\t/", "GET \r\n", "GET \x01", "SSH-2.0-x\r\n",
                            "AVERYLONGMETHODNAMETHATISNONE / x", "*1\r\n$4\r\nPING\r\n", "EHLO\r\n", "AMQP\x01"}) {
    expect_whole_and_cut(bytes, Protocol::Opaque);
  }
}

TEST(Sniff, ATlsRecordThatIsNoClientHelloIsOpaque) {
  const std::string_view server_hello("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 10);
  EXPECT_EQ(sniff(server_hello).protocol, Protocol::Opaque);
  EXPECT_EQ(sniff_clear(server_hello).protocol, Protocol::Opaque);
}

}  // namespace
}  // namespace tapdeck::server

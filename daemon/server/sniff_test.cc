#include "daemon/server/sniff.h"

#include <gtest/gtest.h>

namespace tapdeck::server {
namespace {

TEST(Sniff, KnowsHttpByAMethodASpaceAndATarget) {
  for (const char* head : {"GET / HTTP/1.1", "OPTIONS *", "CONNECT a:443", "UPDATEREDIRECTREF /x", "M-SEARCH *",
                           "GET http://a/", "\r\n\r\nPOST /"}) {
    EXPECT_EQ(sniff(head).protocol, Protocol::Http1) << head;
  }
}

TEST(Sniff, WaitsAsLongAsTheBytesMayStillBecomeSomething) {
  for (const char* head : {"", "G", "GET", "GET ", "\r", "\r\n", "PRI * HTTP/2.0\r\n", "\x16", "\x16\x03"}) {
    EXPECT_EQ(sniff(head).protocol, Protocol::NeedMore) << head;
  }
}

TEST(Sniff, KnowsTheHttp2PrefaceButNotItsLookalike) {
  EXPECT_EQ(sniff("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").protocol, Protocol::Http2);
  EXPECT_EQ(sniff("PRI * HTTP/1.1\r\n").protocol, Protocol::Http1);
}

TEST(Sniff, TakesEverythingElseForOpaque) {
  for (const char* bytes : {"\x01\x02", "get / HTTP/1.1", " GET /", "GET\t/", "GET \r\n", "GET \x01", "SSH-2.0-x",
                            "AVERYLONGMETHODNAMETHATISNONE /", "*1\r\n$4\r\nPING\r\n", "EHLO\r\n"}) {
    EXPECT_EQ(sniff(bytes).protocol, Protocol::Opaque) << bytes;
  }
}

TEST(Sniff, ATlsRecordThatIsNoClientHelloIsOpaque) {
  const std::string_view server_hello("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 10);
  EXPECT_EQ(sniff(server_hello).protocol, Protocol::Opaque);
}

}  // namespace
}  // namespace tapdeck::server

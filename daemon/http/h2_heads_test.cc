// Requests and responses as bytes: which are shown, which are refused and how, cut at every byte.
#include "daemon/http/h2_heads.h"

#include <gtest/gtest.h>

#include <array>

#include "daemon/http/h2_loopback.h"

namespace tapdeck::http {
namespace {

// What a server makes of `bytes` behind a proper beginning, and what it writes: events, then its frames.
std::string served(std::string_view bytes, size_t cut, const Limits& limits = {}) {
  auto codec = make_h2_codec(Role::Server, limits, "https");
  H2Log log(*codec, Role::Server);
  codec->input().append(kH2Preface);
  codec->input().append(settings() + settings_ack());
  log.drive();
  codec->output().clear();
  codec->input().append(bytes.substr(0, cut));
  log.drive();
  codec->input().append(bytes.substr(cut));
  log.drive();
  const std::string frames = frames_of(codec->output().to_string());
  log.drive();  // writing closes streams
  return log.take() + frames;
}

std::string served(std::string_view bytes, const Limits& limits = {}) {
  const std::string whole = served(bytes, bytes.size(), limits);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const std::string parts = served(bytes, cut, limits);
    EXPECT_EQ(parts, whole) << "cut at " << cut;
    if (parts != whole) break;
  }
  return whole;
}

FieldList without(FieldList fields, std::string_view name) {
  std::erase_if(fields, [&](const auto& field) { return field.first == name; });
  return fields;
}

TEST(H2Requests, AProperRequestIsShown) {
  EXPECT_EQ(served(headers(1, get("/x") + FieldList{{"a", "b"}})),
            "head 1 GET /x https a.test end\n  a: b\ncomplete 1\n");
}

TEST(H2Requests, MalformedOnesResetTheirStreamAndAreNeverShown) {
  const std::string refused = "RST_STREAM 1 1\n";
  const FieldList extra[] = {
      {{"Upper", "x"}},
      {{"connection", "close"}},
      {{"keep-alive", "1"}},
      {{"proxy-connection", "x"}},
      {{"transfer-encoding", "chunked"}},
      {{"upgrade", "h2c"}},
      {{"te", "gzip"}},
      {{"te", "trailers, deflate"}},
      {{"a", "b"}, {":method", "GET"}},
      {{":method", "GET"}},
      {{":path", "/"}},
      {{":scheme", "https"}},
      {{":authority", "a.test"}},
      {{":status", "200"}},
      {{":unknown", "x"}},
      {{"host", "other.test"}},
      {{"content-length", "x"}},
      {{"content-length", "1"}},
      {{"content-length", "0"}, {"content-length", "0"}},
      {{"a", "x\ry"}},
      {{"a", "x\ny"}},
      {{"a", std::string("x\0y", 3)}},
      {{"a", " x"}},
      {{"a", "x "}},
      {{"a", "\tx"}},
      {{"a:b", "x"}},
      {{"a b", "x"}},
      {{"a\r", "x"}},
      {{"", "x"}},
      {{"a\xc3\xa9", "x"}},
      {{":protocol", "websocket"}},
  };
  for (const FieldList& fields : extra) {
    EXPECT_EQ(served(headers(1, get() + fields)), refused) << fields[0].first << ": " << fields[0].second;
  }
  for (const char* missing : {":method", ":scheme", ":path", ":authority"}) {
    EXPECT_EQ(served(headers(1, without(get(), missing))), refused) << missing;
  }
  for (const char* path : {"", "x", "*", "/a b", "/a\x7f", "/\xc3\xa9", "http://a.test/"}) {
    EXPECT_EQ(served(headers(1, get(path))), refused) << path;
  }
  for (const char* authority : {"", "u@a.test", "a b", "a.test:x", "a.test,b.test", "a.test/"}) {
    EXPECT_EQ(served(headers(1, without(get(), ":authority") + FieldList{{":authority", authority}})), refused)
        << authority;
  }
}

// What a newer h2spec calls hpack/2.3.3/2; the one we run knows the indexed field only.
TEST(H2Requests, AFieldWhoseNameIsInNoTableEndsTheConnection) {
  // Index 70 is behind the 61 static entries, and the dynamic table is empty.
  for (const char* field : {"\xc6", "\x7f\x07\x01x", "\x0f\x37\x01x", "\x1f\x37\x01x"}) {
    EXPECT_EQ(served(frame(NGHTTP2_HEADERS, kEndHeadersFlag | kEndStreamFlag, 1, block(get()) + field)),
              "error protocol\nGOAWAY 1 9\n")
        << field;
  }
}

// It names one of our streams, of which there are none; grpc-go writes the highest there is.
TEST(H2Requests, AFarewellMayNameAnyStreamAndEndsNoneThatIsOpen) {
  for (const StreamId last : {0u, 1u, 2u, 7u, 0x7fffffffu, 0xffffffffu}) {
    for (const std::string_view debug : {"", "bye"}) {
      const std::string farewell =
          frame(NGHTTP2_GOAWAY, 0, 0, goaway(last, ResetCode::NoError).substr(9) + std::string(debug));
      EXPECT_EQ(served(headers(1, get(), kEndHeadersFlag) + farewell + data(1, "rest", kEndStreamFlag)),
                "head 1 GET / https a.test\ngoing-away 0 0\nbody 1 rest\ncomplete 1\n")
          << last << " " << debug;
    }
  }
  EXPECT_EQ(served(frame(NGHTTP2_GOAWAY, 0, 0, "short")), "error protocol\nGOAWAY 0 6\n");
}

TEST(H2Requests, HostStandsInForAuthority) {
  EXPECT_EQ(served(headers(1, without(get(), ":authority") + FieldList{{"host", "h.test"}})),
            "head 1 GET / https h.test end\n  host: h.test\ncomplete 1\n");
  EXPECT_EQ(served(headers(1, get() + FieldList{{"host", "A.test"}})),
            "head 1 GET / https a.test end\n  host: A.test\ncomplete 1\n");
}

TEST(H2Requests, HostAndAuthorityMustIdentifyTheSame) {
  const auto asked = [](const std::string& scheme, const std::string& authority, const std::string& host) {
    return served(headers(
        1, {{":method", "GET"}, {":scheme", scheme}, {":path", "/"}, {":authority", authority}, {"host", host}}));
  };
  const auto shown = [](const std::string& scheme, const std::string& authority, const std::string& host) {
    return "head 1 GET / " + scheme + " " + authority + " end\n  host: " + host + "\ncomplete 1\n";
  };
  const std::array<std::string, 3> same[] = {
      {"https", "a.test", "A.test:443"}, {"https", "a.test:443", "a.test"}, {"http", "a.test", "a.test:80"},
      {"https", "a.test", "a.test:"},    {"https", "[::1]:443", "[::1]"},   {"https", "a.test:8443", "a.test:8443"}};
  for (const auto& [scheme, authority, host] : same) {
    EXPECT_EQ(asked(scheme, authority, host), shown(scheme, authority, host)) << authority << " " << host;
  }
  const std::array<std::string, 3> others[] = {{"https", "a.test", "a.test:80"},   {"http", "a.test:443", "a.test"},
                                               {"https", "a.test:8443", "a.test"}, {"https", "[::1]", "[::1"},
                                               {"https", "a.test:443", "b.test"},  {"https", "a.test", ""}};
  for (const auto& [scheme, authority, host] : others) {
    EXPECT_EQ(asked(scheme, authority, host), "RST_STREAM 1 1\n") << authority << " " << host;
  }
}

TEST(H2Requests, ABodyMustBeAsLongAsItSaysItIs) {
  const auto post = [](std::string_view length) {
    return headers(1,
                   {{":method", "POST"},
                    {":scheme", "https"},
                    {":path", "/"},
                    {":authority", "a"},
                    {"content-length", std::string(length)}},
                   kEndHeadersFlag);
  };
  const std::string head = "head 1 POST / https a\n  content-length: 3\n";
  EXPECT_EQ(served(post("3") + data(1, "abc", kEndStreamFlag)), head + "body 1 abc\ncomplete 1\n");
  EXPECT_EQ(served(post("3") + data(1, "ab", kEndStreamFlag)), head + "body 1 ab\nreset 1 1\nRST_STREAM 1 1\n");
  // Cut inside the frame, the bytes before the fault are shown.
  const std::string over = post("3") + data(1, "abcd", kEndStreamFlag);
  EXPECT_EQ(served(over, over.size()), head + "reset 1 1\nRST_STREAM 1 1\n");
  EXPECT_EQ(served(over, over.size() - 2), head + "body 1 ab\nreset 1 1\nRST_STREAM 1 1\n");
}

TEST(H2Requests, TrailersCarryNoPseudoFieldsAndEndTheStream) {
  const std::string begun =
      headers(1, {{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"}}, kEndHeadersFlag);
  const std::string head = "head 1 POST / https a\n";
  EXPECT_EQ(served(begun + headers(1, {{"x", "y"}})), head + "trailers 1\n  x: y\ncomplete 1\n");
  EXPECT_EQ(served(begun + headers(1, {{":path", "/"}})), head + "reset 1 1\nRST_STREAM 1 1\n");
  EXPECT_EQ(served(begun + headers(1, {{"x", "y"}}, kEndHeadersFlag)), head + "reset 1 1\nRST_STREAM 1 1\n");
  EXPECT_EQ(served(begun + headers(1, {{"content-length", "0"}})), head + "reset 1 1\nRST_STREAM 1 1\n");
}

TEST(H2Requests, ConnectHasItsOwnForms) {
  EXPECT_EQ(served(headers(1, {{":method", "CONNECT"}, {":authority", "a:443"}}, kEndHeadersFlag) + data(1, "raw")),
            "head 1 CONNECT a:443 https a:443\nbody 1 raw\n");
  EXPECT_EQ(served(headers(1, {{":method", "CONNECT"}, {":authority", "a"}}, kEndHeadersFlag)), "RST_STREAM 1 1\n");
  EXPECT_EQ(served(headers(1, {{":method", "CONNECT"}, {":path", "/"}, {":authority", "a:1"}}, kEndHeadersFlag)),
            "RST_STREAM 1 1\n");
  EXPECT_EQ(
      served(headers(1, {{":method", "CONNECT"}, {":authority", "a:1"}, {"content-length", "3"}}, kEndHeadersFlag)),
      "RST_STREAM 1 1\n");
  const FieldList extended = {{":method", "CONNECT"},
                              {":protocol", "websocket"},
                              {":scheme", "https"},
                              {":path", "/chat"},
                              {":authority", "a"}};
  EXPECT_EQ(served(headers(1, extended, kEndHeadersFlag)), "head 1 CONNECT /chat https a websocket\n");
}

TEST(H2Requests, AHeadOverTheLimitsIsAnsweredWith431) {
  const Limits limits{.head_bytes = 1000, .headers = 10};
  const FieldList large = get() + FieldList{{"a", std::string(900, 'x')}};
  EXPECT_EQ(served(headers(1, large), limits), "HEADERS 1 end\n");
  EXPECT_EQ(served(headers(1, large, kEndHeadersFlag), limits), "HEADERS 1 end\nRST_STREAM 1 0\n");
  FieldList many = get();
  for (int i = 0; i < 11; ++i) many.emplace_back("n", "");
  EXPECT_EQ(served(headers(1, many), limits), "HEADERS 1 end\n");
  const FieldList hopeless = get() + FieldList{{"a", std::string(5000, 'x')}};
  EXPECT_EQ(served(headers(1, hopeless), limits), "RST_STREAM 1 11\n");
}

}  // namespace
}  // namespace tapdeck::http

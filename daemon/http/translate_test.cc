// What a head of one version says in the other, and what is refused because it cannot be said.
#include "daemon/http/translate.h"

#include <gtest/gtest.h>

#include "daemon/http/h1_codec.h"
#include "daemon/http/h2_loopback.h"

namespace tapdeck::http {
namespace {

std::string text(const Headers& headers) {
  std::string out;
  for (size_t i = 0; i < headers.size(); ++i) {
    out += std::string(headers[i].name) + "=" + std::string(headers[i].value) + "\n";
  }
  return out;
}

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

RequestHead h1_request(std::string_view method, std::string_view target, Fields fields) {
  RequestHead head;
  head.method = method;
  head.target = target;
  head.scheme = "https";
  for (const auto& [name, value] : fields) {
    head.headers.add(name, value);
    if (iequals(name, "host")) head.authority = value;
  }
  return head;
}

std::string as_h2(const RequestHead& head) {
  Headers fields;
  const auto done = to_h2(head, "http", fields);
  return done ? text(fields) : "refused: " + done.error().detail;
}

std::string written_by_h1(const RequestHead& head, EndStream end) {
  auto codec = make_h1_codec(Role::Client);
  const auto sent = codec->send_request(head, end);
  return sent ? codec->output().to_string() : "refused: " + sent.error().detail;
}

TEST(Translate, HostBecomesAuthorityAndNamesAreLowered) {
  EXPECT_EQ(as_h2(h1_request("GET", "/a?b", {{"Accept", "x"}, {"Host", "a.test:81"}, {"X-Y", "Z"}})),
            ":method=GET\n:scheme=https\n:path=/a?b\n:authority=a.test:81\naccept=x\nx-y=Z\n");
}

TEST(Translate, FieldsOfTheConnectionStayBehind) {
  EXPECT_EQ(as_h2(h1_request("POST", "/",
                             {{"Host", "a"},
                              {"Connection", "close, X-Hop"},
                              {"X-Hop", "1"},
                              {"Keep-Alive", "5"},
                              {"Proxy-Connection", "x"},
                              {"Transfer-Encoding", "chunked"},
                              {"Upgrade", "h2c"},
                              {"HTTP2-Settings", "AA"},
                              {"TE", "gzip, trailers"},
                              {"Expect", "100-continue"}})),
            ":method=POST\n:scheme=https\n:path=/\n:authority=a\nte=trailers\nexpect=100-continue\n");
}

TEST(Translate, AnAbsoluteTargetIsTakenApart) {
  EXPECT_EQ(as_h2(h1_request("GET", "http://b.test:8080/x?y=/z", {{"Host", "b.test:8080"}})),
            ":method=GET\n:scheme=http\n:path=/x?y=/z\n:authority=b.test:8080\n");
  EXPECT_EQ(as_h2(h1_request("GET", "http://b.test", {{"Host", "b.test"}})),
            ":method=GET\n:scheme=http\n:path=/\n:authority=b.test\n");
  EXPECT_EQ(as_h2(h1_request("OPTIONS", "http://b.test", {{"Host", "b.test"}})),
            ":method=OPTIONS\n:scheme=http\n:path=*\n:authority=b.test\n");
  EXPECT_EQ(as_h2(h1_request("OPTIONS", "*", {{"Host", "b"}})),
            ":method=OPTIONS\n:scheme=https\n:path=*\n:authority=b\n");
}

TEST(Translate, TheSchemeIsLowerCaseAndOfTheWeb) {
  EXPECT_EQ(as_h2(h1_request("GET", "HTTP://b.test/", {{"Host", "b.test"}})),
            ":method=GET\n:scheme=http\n:path=/\n:authority=b.test\n");
  EXPECT_TRUE(as_h2(h1_request("GET", "ftp://b.test/", {{"Host", "b.test"}})).starts_with("refused"));
}

TEST(Translate, AnHttp10RequestWithoutHostIsForWhomItsSenderNames) {
  RequestHead old = h1_request("GET", "/a", {});
  old.version = Version::Http10;
  EXPECT_TRUE(as_h2(old).starts_with("refused"));
  old.authority = "a.test";
  EXPECT_EQ(as_h2(old), ":method=GET\n:scheme=https\n:path=/a\n:authority=a.test\n");
}

TEST(Translate, WhatAClientSaysWrongIsItsOwnError) {
  Headers fields;
  const auto as_h2_too = to_h2(h1_request("GET", "ftp://b.test/", {{"Host", "b.test"}}), "http", fields);
  EXPECT_EQ(as_h2_too.error().code, Code::Protocol);
  EXPECT_EQ(as_h2_too.error().origin, Origin::Downstream);
  RequestHead nobody = h2_request("GET", "/");
  nobody.authority = "u@a";
  EXPECT_EQ(to_h1(nobody).error().code, Code::Protocol);
  EXPECT_EQ(to_h1(nobody).error().origin, Origin::Downstream);
  ResponseHead odd = h2_response(200, {{"a b", "c"}});
  EXPECT_EQ(to_h1(odd, Answers::Plain).error().code, Code::Internal);
}

TEST(Translate, ConnectHasOnlyAMethodAndAnAuthority) {
  EXPECT_EQ(as_h2(h1_request("CONNECT", "c.test:443", {{"Host", "c.test:443"}})),
            ":method=CONNECT\n:authority=c.test:443\n");
}

TEST(Translate, WhatHttp2CannotCarryIsRefused) {
  EXPECT_TRUE(as_h2(h1_request("GET", "/", {})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "*", {{"Host", "a"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "http://a?x", {{"Host", "a"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("G T", "/", {{"Host", "a"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "/ x", {{"Host", "a"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "/", {{"Host", "u@a"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "/", {{"Host", "a"}, {"x y", "1"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("GET", "/", {{"Host", "a"}, {"x", "1\r\n2"}})).starts_with("refused"));
  EXPECT_TRUE(as_h2(h1_request("CONNECT", "a", {{"Host", "a"}})).starts_with("refused"));
}

TEST(Translate, AWebSocketGetIsAnExtendedConnect) {
  const RequestHead upgrade = h1_request("GET", "/chat",
                                         {{"Host", "a"},
                                          {"Upgrade", "websocket"},
                                          {"Connection", "keep-alive, Upgrade"},
                                          {"Sec-WebSocket-Key", "k"},
                                          {"Sec-WebSocket-Version", "13"}});
  EXPECT_TRUE(is_websocket(upgrade));
  EXPECT_TRUE(accepts_websocket(upgrade, 101));
  EXPECT_FALSE(accepts_websocket(upgrade, 200));
  EXPECT_EQ(
      as_h2(upgrade),
      ":method=CONNECT\n:protocol=websocket\n:scheme=https\n:path=/chat\n:authority=a\nsec-websocket-version=13\n");
}

TEST(Translate, AWebSocketGetWithABodyIsAnOrdinaryGet) {
  RequestHead odd = h1_request("GET", "/", {{"Host", "a"}, {"Upgrade", "websocket"}, {"Connection", "Upgrade"}});
  odd.headers.add("Content-Length", "3");
  EXPECT_FALSE(is_websocket(odd));
  EXPECT_EQ(as_h2(odd), ":method=GET\n:scheme=https\n:path=/\n:authority=a\ncontent-length=3\n");
  odd.headers.set("Content-Length", "0");
  EXPECT_EQ(as_h2(odd), ":method=CONNECT\n:protocol=websocket\n:scheme=https\n:path=/\n:authority=a\n");
}

TEST(Translate, AnHttp2RequestIsWrittenWithHostFirstAndOneCookie) {
  EXPECT_EQ(written_by_h1(h2_request("GET", "/x", {{"accept", "y"}, {"cookie", "a=1"}, {"z", "z"}, {"cookie", "b=2"}}),
                          EndStream::Yes),
            "GET /x HTTP/1.1\r\nHost: example.test\r\naccept: y\r\ncookie: a=1; b=2\r\nz: z\r\n\r\n");
}

TEST(Translate, EmptyCookieCrumbsAddNothing) {
  EXPECT_EQ(
      written_by_h1(h2_request("GET", "/", {{"cookie", "a=1"}, {"cookie", ""}, {"cookie", "b=2"}}), EndStream::Yes),
      "GET / HTTP/1.1\r\nHost: example.test\r\ncookie: a=1; b=2\r\n\r\n");
  EXPECT_EQ(written_by_h1(h2_request("GET", "/", {{"cookie", ""}, {"cookie", ""}}), EndStream::Yes),
            "GET / HTTP/1.1\r\nHost: example.test\r\ncookie: \r\n\r\n");
}

TEST(Translate, AnHttp2BodyWithoutLengthIsChunked) {
  EXPECT_EQ(written_by_h1(h2_request("POST", "/", {{"te", "trailers"}}), EndStream::No),
            "POST / HTTP/1.1\r\nHost: example.test\r\nConnection: TE\r\nte: trailers\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(written_by_h1(h2_request("POST", "/", {{"content-length", "3"}}), EndStream::No),
            "POST / HTTP/1.1\r\nHost: example.test\r\ncontent-length: 3\r\n\r\n");
}

// RFC 9110 8.6: where a body is expected, that there is none has to be said. Some servers answer 411 else.
TEST(Translate, AnHttp2PostThatEndsWithItsHeadSaysSo) {
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    EXPECT_EQ(written_by_h1(h2_request(method, "/"), EndStream::Yes),
              std::string(method) + " / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 0\r\n\r\n");
  }
  EXPECT_EQ(written_by_h1(h2_request("POST", "/", {{"content-length", "0"}}), EndStream::Yes),
            "POST / HTTP/1.1\r\nHost: example.test\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(written_by_h1(h2_request("DELETE", "/"), EndStream::Yes),
            "DELETE / HTTP/1.1\r\nHost: example.test\r\n\r\n");
}

TEST(Translate, AnExtendedConnectIsAWebSocketGet) {
  RequestHead connect = h2_request("CONNECT", "/chat", {{"sec-websocket-key", "k"}, {"sec-websocket-version", "13"}});
  connect.protocol = "websocket";
  EXPECT_TRUE(is_websocket(connect));
  EXPECT_TRUE(accepts_websocket(connect, 200));
  EXPECT_EQ(written_by_h1(connect, EndStream::No),
            "GET /chat HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "sec-websocket-key: k\r\nsec-websocket-version: 13\r\n\r\n");
  connect.protocol = "connect-udp";
  EXPECT_TRUE(written_by_h1(connect, EndStream::No).starts_with("refused"));
}

TEST(Translate, AnHttp2ConnectIsAnHttp1Connect) {
  RequestHead connect = h2_request("CONNECT", "c.test:443");
  connect.authority = "c.test:443";
  EXPECT_EQ(written_by_h1(connect, EndStream::No), "CONNECT c.test:443 HTTP/1.1\r\nHost: c.test:443\r\n\r\n");
}

// An h1 server that is asked `request` and answers with `head` of HTTP/2 and a body of three bytes.
std::string answered_by_h1(std::string_view request, const ResponseHead& head) {
  auto codec = make_h1_codec(Role::Server);
  codec->input().append(request);
  while (true) {
    auto event = codec->next();
    if (!event || !*event) break;
  }
  const auto sent = codec->send_response(1, head, EndStream::No);
  if (!sent) return "refused: " + sent.error().detail;
  ignore(codec->send_body(1, "abc"), "a switch, which has no body, refuses");
  ignore(codec->send_end(1, {}), "a switch has ended with its head");
  return codec->output().to_string();
}

TEST(Translate, AnHttp2ResponseGetsItsPhraseAndChunks) {
  EXPECT_EQ(answered_by_h1("GET / HTTP/1.1\r\nHost: a\r\n\r\n", h2_response(200, {{"x", "y"}})),
            "HTTP/1.1 200 OK\r\nx: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  EXPECT_EQ(answered_by_h1("GET / HTTP/1.1\r\nHost: a\r\n\r\n", h2_response(204)), "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(answered_by_h1("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", h2_response(200)), "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(answered_by_h1("GET / HTTP/1.0\r\n\r\n", h2_response(200)),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
  EXPECT_EQ(answered_by_h1("GET / HTTP/1.1\r\nHost: a\r\n\r\n", h2_response(299, {{"content-length", "3"}})),
            "HTTP/1.1 299 \r\ncontent-length: 3\r\n\r\nabc");
}

TEST(Translate, AnAcceptedWebSocketIsA101) {
  constexpr std::string_view kAsk =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
  EXPECT_EQ(answered_by_h1(kAsk, h2_response(200, {{"sec-websocket-accept", "s"}})),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "sec-websocket-accept: s\r\n\r\n");
  EXPECT_EQ(answered_by_h1(kAsk, h2_response(200)),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
}

TEST(Translate, A101BecomesA200ForAnExtendedConnect) {
  ResponseHead head;
  head.status = 101;
  head.headers.add("Upgrade", "websocket");
  head.headers.add("Connection", "Upgrade");
  head.headers.add("Sec-WebSocket-Accept", "s");
  head.headers.add("Sec-WebSocket-Protocol", "chat");
  Headers fields;
  ASSERT_TRUE(to_h2(head, fields));
  EXPECT_EQ(text(fields), ":status=200\nsec-websocket-protocol=chat\n");
}

TEST(Translate, WhatHasNoBodySaysNoLengthOverHttp2) {
  for (const int status : {100, 103, 204, 205, 304}) {
    ResponseHead head;
    head.status = status;
    head.headers.add("Content-Length", "5");
    head.headers.add("X", "y");
    Headers fields;
    ASSERT_TRUE(to_h2(head, fields));
    EXPECT_EQ(fields.count("content-length"), status < 200 || status == 204 ? 0U : 1U) << status;
    EXPECT_EQ(fields.count("x"), 1U);
  }
}

TEST(Translate, FramingFieldsInTrailersAreRefused) {
  Headers trailers, fields;
  trailers.add("X-Sum", "1");
  ASSERT_TRUE(to_h2_trailers(trailers, fields));
  EXPECT_EQ(text(fields), "x-sum=1\n");
  trailers.add("Content-Length", "1");
  EXPECT_FALSE(to_h2_trailers(trailers, fields));
}

}  // namespace
}  // namespace tapdeck::http

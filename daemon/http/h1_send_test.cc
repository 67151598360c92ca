// What an H1Codec writes, and what it refuses to write.
#include <gtest/gtest.h>

#include <string>

#include "daemon/http/h1_codec.h"

namespace tapdeck::http {
namespace {

using namespace std::string_literals;  // literals with NUL bytes

using Fields = std::vector<std::pair<std::string, std::string>>;

ResponseHead response(int status, const Fields& fields = {}, Version version = Version::Http11) {
  ResponseHead head;
  head.status = status;
  head.reason = "Because";
  head.version = version;
  for (const auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}
RequestHead request(std::string method, const Fields& fields = {{"Host", "a"}}, Version version = Version::Http11) {
  RequestHead head;
  head.method = std::move(method);
  head.target = "/t?q";
  head.version = version;
  for (const auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}

// A server codec that has read one request and waits for the response.
class Server {
 public:
  explicit Server(std::string_view bytes = "GET / HTTP/1.1\r\nHost: a\r\n\r\n") : codec_(make_h1_codec(Role::Server)) {
    codec_->input().append(bytes);
    drain_events();
  }
  void drain_events() {
    while (true) {
      auto event = codec_->next();
      if (!event || !*event) return;
      if (std::holds_alternative<Upgraded>(**event)) upgraded_ = true;
    }
  }
  Codec* operator->() { return codec_.get(); }
  std::string written() {
    std::string text = codec_->output().to_string();
    codec_->output().clear();
    return text;
  }
  [[nodiscard]] bool upgraded() const { return upgraded_; }

 private:
  std::unique_ptr<Codec> codec_;
  bool upgraded_ = false;
};

TEST(H1SendResponse, HeadGoesOutAsGiven) {
  Server server;
  ASSERT_TRUE(server->send_response(
      1, response(200, {{"x-b", "1"}, {"X-A", ""}, {"Content-LENGTH", "002"}, {"x-b", "2"}}), EndStream::No));
  ASSERT_TRUE(server->send_body(1, "h"));
  ASSERT_TRUE(server->send_body(1, "i"));
  ASSERT_TRUE(server->send_end(1, {}));
  EXPECT_EQ(server.written(), "HTTP/1.1 200 Because\r\nx-b: 1\r\nX-A: \r\nContent-LENGTH: 002\r\nx-b: 2\r\n\r\nhi");
  EXPECT_FALSE(server->must_close());
  EXPECT_TRUE(server->is_idle());
}

TEST(H1SendResponse, UnframedBodyEndsWithTheConnectionAsAtTheOrigin) {
  Server modern;
  ASSERT_TRUE(modern->send_response(1, response(200), EndStream::No));
  ASSERT_TRUE(modern->send_body(1, "hello world, hello"));
  ASSERT_TRUE(modern->send_end(1, {}));
  EXPECT_EQ(modern.written(), "HTTP/1.1 200 Because\r\n\r\nhello world, hello");
  EXPECT_TRUE(modern->must_close());

  Server old("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(old->send_response(1, response(200, {{"Transfer-Encoding", "chunked"}, {"A", "b"}}), EndStream::No));
  ASSERT_TRUE(old->send_body(1, "hi", ChunkStart{2, ";ext"}));
  Headers trailers;
  trailers.add("T", "1");
  ASSERT_TRUE(old->send_end(1, trailers));
  EXPECT_EQ(old.written(), "HTTP/1.1 200 Because\r\nA: b\r\nConnection: close\r\n\r\nhi");
  EXPECT_TRUE(old->must_close());
}

TEST(H1SendResponse, ChunkBoundariesExtensionsAndTrailersAreRecreated) {
  Server server;
  ASSERT_TRUE(server->send_response(1, response(200, {{"Transfer-Encoding", "chunked"}}), EndStream::No));
  server.written();
  ASSERT_TRUE(server->send_body(1, "", ChunkStart{5, ";a=b"}));
  ASSERT_TRUE(server->send_body(1, "he"));
  ASSERT_TRUE(server->send_body(1, "llo"));
  ASSERT_TRUE(server->send_body(1, "x", ChunkStart{1, ""}));
  Headers trailers;
  trailers.add("X-Sum", "9");
  ASSERT_TRUE(server->send_end(1, trailers));
  EXPECT_EQ(server.written(), "5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nX-Sum: 9\r\n\r\n");
}

TEST(H1SendResponse, AnExtensionOfTheLastChunkGoesOutWithTheEnd) {
  Server server;
  ASSERT_TRUE(server->send_response(1, response(200, {{"Transfer-Encoding", "chunked"}}), EndStream::No));
  server.written();
  ASSERT_TRUE(server->send_body(1, "x", ChunkStart{1, ""}));
  ASSERT_TRUE(server->send_body(1, "", ChunkStart{0, ";last"}));
  EXPECT_EQ(server.written(), "1\r\nx\r\n") << "nothing of the end before the end";
  EXPECT_FALSE(server->send_body(1, "", ChunkStart{0, ";last\r\n"}));
  EXPECT_FALSE(server->send_body(1, "y", ChunkStart{0, ""})) << "the last chunk has no bytes";
  ASSERT_TRUE(server->send_body(1, "", ChunkStart{0, ";last"}));
  ASSERT_TRUE(server->send_end(1, {}));
  EXPECT_EQ(server.written(), "0;last\r\n\r\n");
}

TEST(H1SendResponse, NoBodyGoesOutForHead204And304) {
  Server head("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(head->send_response(1, response(200, {{"Content-Length", "9"}}), EndStream::No));
  EXPECT_EQ(*head->send_body(1, "dropped!!"), 9u);
  ASSERT_TRUE(head->send_end(1, {}));
  EXPECT_EQ(head.written(), "HTTP/1.1 200 Because\r\nContent-Length: 9\r\n\r\n");
  for (const int status : {204, 304}) {
    Server server;
    ASSERT_TRUE(server->send_response(1, response(status), EndStream::Yes));
    EXPECT_EQ(server.written(), "HTTP/1.1 " + std::to_string(status) + " Because\r\n\r\n");
    EXPECT_FALSE(server->must_close());
  }
}

TEST(H1SendResponse, EmptyResponseGetsALengthSoThatTheClientNeedNotWait) {
  Server server;
  ASSERT_TRUE(server->send_response(1, response(200), EndStream::Yes));
  EXPECT_EQ(server.written(), "HTTP/1.1 200 Because\r\nContent-Length: 0\r\n\r\n");
}

TEST(H1SendResponse, LengthExceededOrUnmetIsAnErrorAndCloses) {
  Server more;
  ASSERT_TRUE(more->send_response(1, response(200, {{"Content-Length", "2"}}), EndStream::No));
  EXPECT_EQ(more->send_body(1, "abc").error().code, Code::Internal);
  Server less;
  ASSERT_TRUE(less->send_response(1, response(200, {{"Content-Length", "2"}}), EndStream::No));
  ASSERT_TRUE(less->send_body(1, "a"));
  EXPECT_EQ(less->send_end(1, {}).error().code, Code::Internal);
  EXPECT_TRUE(less->must_close());
  Server none;
  EXPECT_FALSE(none->send_response(1, response(200, {{"Content-Length", "2"}}), EndStream::Yes));
  Server chunk;
  ASSERT_TRUE(chunk->send_response(1, response(200, {{"Transfer-Encoding", "chunked"}}), EndStream::No));
  ASSERT_TRUE(chunk->send_body(1, "a", ChunkStart{5, ""}));
  EXPECT_FALSE(chunk->send_end(1, {}));
}

TEST(H1SendResponse, SplittingIsRefused) {
  const Fields bad[] = {{{"A", "b\r\nX: y"}},
                        {{"A", "b\n"}},
                        {{"A", "b\0"s}},
                        {{"A\r\nX", "y"}},
                        {{"A:", "y"}},
                        {{"", "y"}},
                        {{"A b", "y"}},
                        {{"Content-Length", "x"}},
                        {{"Content-Length", "0"}, {"Transfer-Encoding", "chunked"}},
                        {{"Content-Length", "0"}, {"content-length", "0"}},
                        {{"Transfer-Encoding", "identity"}}};
  for (const Fields& fields : bad) {
    Server server;
    EXPECT_FALSE(server->send_response(1, response(200, fields), EndStream::No)) << fields[0].first;
    EXPECT_EQ(server.written(), "");
  }
  Server server;
  ResponseHead head = response(200);
  head.reason = "OK\r\nX: y";
  EXPECT_FALSE(server->send_response(1, head, EndStream::No));
  EXPECT_FALSE(server->send_response(1, response(20), EndStream::No));
  ASSERT_TRUE(server->send_response(1, response(200, {{"Transfer-Encoding", "chunked"}}), EndStream::No));
  EXPECT_FALSE(server->send_body(1, "a", ChunkStart{1, ";a\r\nb"}));
  Headers trailers;
  trailers.add("A", "b\r\n\r\nHTTP/1.1 200 OK");
  EXPECT_FALSE(server->send_end(1, trailers));
}

TEST(H1SendResponse, InformationalGoesBeforeTheFinalHeadAndNotToHttp10) {
  Server server("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  ASSERT_TRUE(server->send_informational(1, response(100)));
  EXPECT_EQ(server.written(), "HTTP/1.1 100 Because\r\n\r\n");
  server->input().append("x");
  server.drain_events();
  ASSERT_TRUE(server->send_response(1, response(200), EndStream::Yes));
  EXPECT_FALSE(server->send_informational(1, response(103)));
  EXPECT_FALSE(server->must_close());
  Server old("GET / HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(old->send_informational(1, response(100)));
  EXPECT_EQ(old.written(), "");
}

TEST(H1SendResponse, InformationalMaySayThatItsBodyIsEmpty) {
  Server server;
  ASSERT_TRUE(server->send_informational(1, response(103, {{"Content-Length", "0"}})));
  EXPECT_EQ(server.written(), "HTTP/1.1 103 Because\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(server->send_informational(1, response(103, {{"Content-Length", "1"}})));
  EXPECT_FALSE(server->send_informational(1, response(103, {{"Transfer-Encoding", "chunked"}})));
}

TEST(H1SendResponse, AnswerInsteadOf100ContinueClosesBecauseTheBodyMayOrMayNotCome) {
  Server server("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  ASSERT_TRUE(server->send_response(1, response(417), EndStream::Yes));
  EXPECT_TRUE(server->must_close());
}

TEST(H1SendResponse, EarlyAnswerMustCloseUntilTheRequestIsRead) {
  Server server("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
  ASSERT_TRUE(server->send_response(1, response(413), EndStream::Yes));
  EXPECT_TRUE(server->must_close());
  server->input().append("y");
  server.drain_events();
  EXPECT_FALSE(server->must_close());
}

TEST(H1SendResponse, ConnectionTokensAndVersionsDecideAboutClosing) {
  struct Case {
    const char* request;
    Fields fields;
    Version version;
    bool closes;
  } cases[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", {}, Version::Http11, false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {}, Version::Http11, true},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", {{"Connection", "x, close"}}, Version::Http11, true},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", {}, Version::Http10, true},
      {"GET / HTTP/1.0\r\n\r\n", {{"Connection", "keep-alive"}}, Version::Http11, true},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {{"Connection", "keep-alive"}}, Version::Http10, false},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {}, Version::Http11, true},
  };
  for (const Case& c : cases) {
    Server server(c.request);
    ASSERT_TRUE(server->send_response(1, response(200, c.fields, c.version), EndStream::Yes));
    EXPECT_EQ(server->must_close(), c.closes) << c.request;
  }
}

// What follows it may be meant for the tunnel, however late it comes.
TEST(H1SendResponse, ARefusedConnectIsTheLastRequestUnlessItAsksForCredentials) {
  const std::string connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
  for (const int status : {302, 400, 403, 407, 502}) {
    Server server(connect);
    ASSERT_TRUE(server->send_response(1, response(status), EndStream::Yes));
    const bool goes_on = status == 407;
    EXPECT_EQ(server.written().contains("\r\nConnection: close\r\n"), !goes_on) << status;
    EXPECT_EQ(server->must_close(), !goes_on) << status;
  }
  Server hasty(connect + "\x16\x03\x01");
  ASSERT_TRUE(hasty->send_response(1, response(407), EndStream::Yes));
  EXPECT_TRUE(hasty.written().contains("\r\nConnection: close\r\n"));
  EXPECT_TRUE(hasty->must_close());
  Server opened(connect);
  ASSERT_TRUE(opened->send_response(1, response(200), EndStream::No));
  EXPECT_EQ(opened.written(), "HTTP/1.1 200 Because\r\n\r\n");
}

TEST(H1SendResponse, DrainSaysCloseOnTheNextHead) {
  Server server;
  server->start_drain();
  EXPECT_FALSE(server->must_close());
  ASSERT_TRUE(server->send_response(1, response(204), EndStream::Yes));
  EXPECT_EQ(server.written(), "HTTP/1.1 204 Because\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(server->must_close());
  auto idle = make_h1_codec(Role::Server);
  idle->start_drain();
  EXPECT_TRUE(idle->must_close());
}

TEST(H1SendResponse, SwitchingProtocolsNeedsARequestThatAskedForIt) {
  Server plain;
  EXPECT_FALSE(plain->send_response(1, response(101), EndStream::Yes));
  Server server("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  ASSERT_TRUE(server->send_response(1, response(101, {{"Upgrade", "websocket"}}), EndStream::No));
  ASSERT_TRUE(server->send_end(1, {}));
  server.drain_events();
  EXPECT_TRUE(server.upgraded());
  EXPECT_TRUE(server->must_close());
  EXPECT_EQ(server.written(), "HTTP/1.1 101 Because\r\nUpgrade: websocket\r\n\r\n");
}

TEST(H1SendResponse, AfterARefusedRequestOneExplanationMayBeSent) {
  for (const char* bytes : {"BREW / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r\n"}) {
    Server server(bytes);
    ASSERT_TRUE(server->send_response(1, response(400, {{"Content-Length", "2"}}), EndStream::No));
    ASSERT_TRUE(server->send_body(1, "no"));
    ASSERT_TRUE(server->send_end(1, {}));
    EXPECT_EQ(server.written(), "HTTP/1.1 400 Because\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    EXPECT_TRUE(server->must_close());
    EXPECT_FALSE(server->send_response(1, response(200), EndStream::Yes));
  }
}

TEST(H1SendResponse, ResetEndsEverythingWithoutAnEnd) {
  Server server;
  ASSERT_TRUE(server->send_response(1, response(200), EndStream::No));
  server.written();
  server->reset(1, ResetCode::Cancel);
  EXPECT_FALSE(server->send_end(1, {}));
  EXPECT_EQ(server.written(), "");
  EXPECT_TRUE(server->must_close());
}

TEST(H1SendResponse, HeadLargerThanABufferChunkGoesOutWhole) {
  Server server;
  const std::string value(40000, 'v');
  ASSERT_TRUE(server->send_response(1, response(204, {{"A", value}}), EndStream::Yes));
  EXPECT_EQ(server.written(), "HTTP/1.1 204 Because\r\nA: " + value + "\r\n\r\n");
}

TEST(H1SendRequest, HeadGoesOutAsGivenAndBodyIsFramed) {
  auto codec = make_h1_codec(Role::Client);
  EXPECT_EQ(*codec->send_request(request("GET", {{"hOST", "a"}, {"A", "b"}}), EndStream::Yes), 1u);
  EXPECT_EQ(codec->output().to_string(), "GET /t?q HTTP/1.1\r\nhOST: a\r\nA: b\r\n\r\n");
  codec->output().clear();
  EXPECT_EQ(*codec->send_request(request("POST"), EndStream::No), 3u);
  EXPECT_EQ(codec->send_request(request("GET"), EndStream::Yes).error().code, Code::Exhausted);
  ASSERT_TRUE(codec->send_body(3, "hi"));
  ASSERT_TRUE(codec->send_end(3, {}));
  EXPECT_EQ(codec->output().to_string(),
            "POST /t?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
  EXPECT_FALSE(codec->is_idle());
}

TEST(H1SendRequest, AuthorityBecomesHostWhenTheHeadHasNone) {
  auto codec = make_h1_codec(Role::Client);
  RequestHead head = request("GET", {{"A", "b"}}, Version::Http2);
  EXPECT_FALSE(codec->send_request(head, EndStream::Yes));
  head.authority = "x:1";
  ASSERT_TRUE(codec->send_request(head, EndStream::Yes));
  EXPECT_EQ(codec->output().to_string(), "GET /t?q HTTP/1.1\r\nHost: x:1\r\nA: b\r\n\r\n");
}

TEST(H1SendRequest, SplittingIsRefused) {
  auto codec = make_h1_codec(Role::Client);
  RequestHead head = request("GET");
  head.target = "/ HTTP/1.1\r\nHost: b\r\n\r\n";
  EXPECT_FALSE(codec->send_request(head, EndStream::Yes));
  EXPECT_FALSE(codec->send_request(request("GET\r\nX:"), EndStream::Yes));
  EXPECT_FALSE(codec->send_request(request("GET", {{"Host", "a"}, {"Host", "b"}}), EndStream::Yes));
  EXPECT_FALSE(codec->send_request(request("POST", {{"Host", "a"}, {"Content-Length", "3"}}), EndStream::Yes));
  EXPECT_FALSE(codec->send_request(request("POST", {{"Host", "a"}}, Version::Http10), EndStream::No));
  EXPECT_TRUE(codec->output().empty());
  EXPECT_TRUE(codec->is_idle());
}

TEST(H1SendRequest, ConnectionIsReusableAfterACompleteExchangeOnly) {
  auto codec = make_h1_codec(Role::Client);
  ASSERT_TRUE(codec->send_request(request("POST"), EndStream::No));
  codec->input().append("HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
  while (codec->next()->has_value()) {
  }
  EXPECT_TRUE(codec->must_close()) << "the response overtook the request";
  ASSERT_TRUE(codec->send_end(1, {}));
  EXPECT_FALSE(codec->must_close());
  EXPECT_TRUE(codec->is_idle());
  codec->start_drain();
  EXPECT_TRUE(codec->must_close());
}

}  // namespace
}  // namespace tapdeck::http

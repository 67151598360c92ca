// What an H1Codec reads: bytes in, events out.
#include "daemon/http/h1_codec.h"

#include <gtest/gtest.h>

#include <string>

#include "daemon/http/h1_check.h"

namespace tapdeck::http {
namespace {

TEST(H1Server, GetWithoutBodyIsHeadAndComplete) {
  EXPECT_EQ(events("GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nX-Mixed-CASE:  v \t\r\nEmpty:\r\n\r\n"),
            "head 1 GET /a?b=c 1.1 http example.com:8080 end\n"
            "  Host: example.com:8080\n  X-Mixed-CASE: v\n  Empty: \n"
            "complete 1\n");
}

TEST(H1Server, PipelinedRequestsComeOneAfterTheOther) {
  EXPECT_EQ(events("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                   "GET /2 HTTP/1.1\r\nHost: b\r\n\r\n"),
            "head 1 POST /1 1.1 http a\n  Host: a\n  Content-Length: 3\nbody \"abc\"\ncomplete 1\n"
            "head 3 GET /2 1.1 http b end\n  Host: b\ncomplete 3\n");
}

TEST(H1Server, NextRequestWaitsForTheEndOfTheResponse) {
  auto codec = make_h1_codec(Role::Server);
  const std::string two = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  codec->input().append(two);
  EXPECT_TRUE(std::holds_alternative<HeadReceived>(**codec->next()));
  EXPECT_TRUE(std::holds_alternative<MessageComplete>(**codec->next()));
  EXPECT_FALSE(codec->next()->has_value());
  EXPECT_EQ(codec->input().size(), two.size() / 2);
  ResponseHead head;
  head.status = 200;
  head.headers.add("Content-Length", "1");
  ASSERT_TRUE(codec->send_response(1, head, EndStream::No));
  EXPECT_FALSE(codec->next()->has_value());
  ASSERT_TRUE(codec->send_body(1, "x"));
  EXPECT_FALSE(codec->next()->has_value());
  ASSERT_TRUE(codec->send_end(1, {}));
  EXPECT_TRUE(std::holds_alternative<HeadReceived>(**codec->next()));
  EXPECT_EQ(codec->request_head().target, "/2");
}

TEST(H1Server, ChunksKeepTheirSizesExtensionsAndTrailers) {
  EXPECT_EQ(events("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
                   "3\r\nabc\r\n00A;x=1;y=\"q;s\"\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"),
            "head 1 POST / 1.1 http a\n  Host: a\n  Transfer-Encoding: Chunked\n"
            "chunk 3\nbody \"abc\"\nchunk 10;x=1;y=\"q;s\"\nbody \"0123456789\"\nchunk 0;last\n"
            "trailers 1\n  X-Sum: 1\n  x-sum: 2\ncomplete 1\n");
}

TEST(H1Server, BodyBytesAreViewsOfTheInput) {
  auto codec = make_h1_codec(Role::Server);
  codec->input().append("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  ASSERT_TRUE(codec->next()->has_value());
  const std::string_view in = codec->input().front();
  const auto event = *codec->next();
  EXPECT_EQ(std::get<BodyReceived>(*event).bytes.data(), in.data());
  EXPECT_EQ(codec->input().size(), 5u) << "not consumed while it is shown";
  ASSERT_TRUE(codec->next()->has_value());
  EXPECT_TRUE(codec->input().empty());
}

TEST(H1Server, FewEmptyLinesBeforeARequestAreIgnoredAndManyAreNot) {
  EXPECT_EQ(events("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            "head 1 GET / 1.1 http a end\n  Host: a\ncomplete 1\n");
  EXPECT_EQ(events("\r\n\r\n\r\n\r\n\r\n"), "error protocol\n");
}

TEST(H1Server, AbsoluteFormFillsSchemeAndAuthorityAndReplacesADifferentHost) {
  EXPECT_EQ(events("GET HTTPS://Ex.com:444/p?q HTTP/1.1\r\nA: b\r\nhOst: other\r\n\r\n"),
            "head 1 GET HTTPS://Ex.com:444/p?q 1.1 https Ex.com:444 end\n  A: b\n  hOst: Ex.com:444\ncomplete 1\n");
  EXPECT_EQ(events("OPTIONS http://ex.com HTTP/1.1\r\nHost: ex.com\r\n\r\n"),
            "head 1 OPTIONS http://ex.com 1.1 http ex.com end\n  Host: ex.com\ncomplete 1\n");
}

TEST(H1Server, OptionsStarAndConnectHaveTheirOwnTargets) {
  EXPECT_EQ(events("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
            "head 1 OPTIONS * 1.1 http a end\n  Host: a\ncomplete 1\n");
  EXPECT_EQ(events("CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n\x16\x03tls"),
            "head 1 CONNECT a.b:443 1.1 http a.b:443 end\n  Host: a.b:443\ncomplete 1\nupgraded 1\n"
            "left \"\x16\x03tls\"\n");
}

TEST(H1Server, Http10ClosesAndKeepAliveDoesNotBringItBackAlone) {
  EXPECT_EQ(events("GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n"), "head 1 GET / 1.0 http  end\ncomplete 1\n");
  EXPECT_EQ(events("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            "head 1 GET / 1.1 http a end\n  Host: a\n  Connection: x, Close\ncomplete 1\n");
}

TEST(H1Server, UpgradeAnsweredBy101LeavesTheRestUnread) {
  TranscriptOptions options = server();
  options.answer = 101;
  EXPECT_EQ(
      events("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05",
             options),
      "head 1 GET /ws 1.1 http a end\n  Host: a\n  Connection: keep-alive, Upgrade\n  Upgrade: websocket\n"
      "complete 1\nupgraded 1\nleft \"\x81\x05\"\n");
}

TEST(H1Server, UpgradeAnsweredBy200GoesOnAsHttp) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
  EXPECT_EQ(events(head + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
            "head 1 GET / 1.1 http a end\n  Host: a\n  Connection: Upgrade\n  Upgrade: h2c\ncomplete 1\n"
            "head 3 GET /2 1.1 http a end\n  Host: a\ncomplete 3\n");
}

TEST(H1Server, UpgradeRequestWithABodyIsReadWhole) {
  TranscriptOptions options = server();
  options.answer = 101;
  EXPECT_EQ(events("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhiraw",
                   options),
            "head 1 POST / 1.1 http a\n  Host: a\n  Connection: upgrade\n  Upgrade: x\n  Content-Length: 2\n"
            "body \"hi\"\ncomplete 1\nupgraded 1\nleft \"raw\"\n");
}

TEST(H1Server, UnknownMethodIsUnsupported) {
  EXPECT_EQ(events("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n"), "error unsupported\n");
  EXPECT_EQ(events("PLAY /pot HTTP/1.1\r\nHost: a\r\n\r\n"), "error unsupported\n");
}

TEST(H1Server, EndOfStreamIsOrderlyOnlyBetweenMessages) {
  EXPECT_EQ(events(""), "");
  EXPECT_EQ(events("\r\n"), "");
  EXPECT_EQ(events("GET / HT"), "error truncated\n");
  EXPECT_EQ(events("GET / HTTP/1.1\r\nHost: a\r\n"), "error truncated\n");
  EXPECT_EQ(events("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"),
            "head 1 PUT / 1.1 http a\n  Host: a\n  Content-Length: 3\nbody \"ab\"\nerror truncated\n");
  EXPECT_EQ(events("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
            "head 1 PUT / 1.1 http a\n  Host: a\n  Transfer-Encoding: chunked\nerror truncated\n");
}

TEST(H1Server, HeadOverSeveralBufferChunksIsRead) {
  const std::string value(ByteQueue::kChunkBytes, 'v');
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\nX: " + value + "\r\n\r\n";
  EXPECT_EQ(events(request), "head 1 GET / 1.1 http a end\n  Host: a\n  X: " + value + "\ncomplete 1\n");
}

TEST(H1Client, ContentLengthChunkedAndNoBody) {
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
                   "HTTP/1.1 404 Not  Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
                   "HTTP/1.1 204 \r\n\r\n"
                   "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
                   "HTTP/1.1 200\r\nContent-Length: 99\r\n\r\n",
                   client({"GET", "GET", "GET", "GET", "HEAD"})),
            "head 1 200 \"OK\" 1.1\n  Content-Length: 2\nbody \"hi\"\ncomplete 1\n"
            "head 3 404 \"Not  Found\" 1.1\n  Transfer-Encoding: chunked\nchunk 2\nbody \"hi\"\ncomplete 3\n"
            "head 5 204 \"\" 1.1 end\ncomplete 5\n"
            "head 7 304 \"Not Modified\" 1.1 end\n  Content-Length: 99\ncomplete 7\n"
            "head 9 200 \"\" 1.1 end\n  Content-Length: 99\ncomplete 9\n");
}

TEST(H1Client, InformationalResponsesComeBeforeTheFinalOne) {
  EXPECT_EQ(events("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                   client()),
            "info 1 100\ninfo 1 103\n  Link: </x>\nhead 1 200 \"OK\" 1.1 end\n  Content-Length: 0\ncomplete 1\n");
}

TEST(H1Client, CloseDelimitedBodyEndsWithTheConnection) {
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nA: b\r\n\r\nall of\r\n\r\nthis", client()),
            "head 1 200 \"OK\" 1.1\n  A: b\ngoing-away 1\nbody \"all of\\r\\n\\r\\nthis\"\ncomplete 1\n");
  EXPECT_EQ(events("HTTP/1.0 200 OK\r\n\r\n", client()), "head 1 200 \"OK\" 1.0\ngoing-away 1\ncomplete 1\n");
}

TEST(H1Client, ConnectionCloseIsGoingAway) {
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", client()),
            "head 1 200 \"OK\" 1.1\n  Connection: close\n  Content-Length: 1\ngoing-away 1\nbody \"x\"\ncomplete 1\n");
  EXPECT_EQ(events("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", client()),
            "head 1 200 \"OK\" 1.0 end\n  Connection: keep-alive\n  Content-Length: 0\ncomplete 1\n");
}

TEST(H1Client, TruncatedResponsesAreErrors) {
  EXPECT_EQ(events("", client()), "error truncated if-reused\n");
  EXPECT_EQ(events("HTTP/1.1 2", client()), "error truncated\n");
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", client()),
            "head 1 200 \"OK\" 1.1\n  Content-Length: 5\nbody \"ab\"\nerror truncated\n");
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", client()),
            "head 1 200 \"OK\" 1.1\n  Transfer-Encoding: chunked\nchunk 5\nbody \"abcde\"\nerror truncated\n");
  EXPECT_EQ(events("HTTP/1.1 100 Continue\r\n\r\n", client()), "info 1 100\nerror truncated if-reused\n");
}

TEST(H1Client, SwitchingProtocolsAndConnectOpenATunnel) {
  const std::string answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw";
  EXPECT_EQ(events(answer, client({"GET upgrade"})),
            "head 1 101 \"Switching Protocols\" 1.1 end\n  Connection: upgrade\n  Upgrade: websocket\n"
            "complete 1\nupgraded 1\nleft \"raw\"\n");
  EXPECT_EQ(events("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", client({"CONNECT"})),
            "head 1 200 \"OK\" 1.1 end\n  Content-Length: 5\ncomplete 1\nupgraded 1\nleft \"hello\"\n");
  EXPECT_EQ(events("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", client({"CONNECT"})),
            "head 1 407 \"No\" 1.1\n  Content-Length: 2\nbody \"no\"\ncomplete 1\n");
}

TEST(H1Client, A101ToAnotherProtocolThanTheOneAskedForIsAnError) {
  for (const std::string upgrade : {"Upgrade: foo\r\n", ""}) {
    const std::string answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" + upgrade + "\r\nraw";
    EXPECT_EQ(events(answer, client({"GET upgrade"})), "error protocol\n") << upgrade;
  }
}

TEST(H1Client, BytesThatAnswerNoRequestAreAnError) {
  EXPECT_EQ(
      events("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", client()),
      "head 1 200 \"OK\" 1.1 end\n  Content-Length: 0\ncomplete 1\nerror protocol\n");
}

}  // namespace
}  // namespace tapdeck::http

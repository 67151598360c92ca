// Replay to clients that do not take the recorded content coding: how what they get is framed.
#include <gmock/gmock.h>

#include "daemon/coding/decoder.h"
#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kTakesGzip = "GET /a HTTP/1.1\r\nHost: api.test\r\nAccept-Encoding: gzip\r\n\r\n";
const std::string kTakesPlain = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

std::string zipped(const std::string& text) {
  coding::Encoder encoder(coding::Coding::Gzip);
  std::string out;
  EXPECT_TRUE(encoder.feed(text, out));
  EXPECT_TRUE(encoder.finish(out));
  return out;
}

struct Answer {
  std::string head, body, rest;  // `rest`: behind the last chunk's size, or what comes behind the length
};

Answer parse(const std::string& bytes) {
  const size_t end = bytes.find("\r\n\r\n") + 4;
  Answer answer{bytes.substr(0, end), {}, {}};
  if (!answer.head.contains("Transfer-Encoding: chunked\r\n")) {
    answer.body = bytes.substr(end);
    return answer;
  }
  for (size_t at = end; at < bytes.size();) {
    const size_t line = bytes.find("\r\n", at);
    if (line == std::string::npos) break;
    const size_t size = std::stoul(bytes.substr(at, line - at), nullptr, 16);
    if (size == 0) {
      answer.rest = bytes.substr(line + 2);
      break;
    }
    answer.body.append(bytes, line + 2, size);
    at = line + 2 + size + 2;
  }
  return answer;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// As windows open, without waiting for anything that the client says.
void send_all(Wire& raw, H2Wire& wire, std::string_view bytes, const http::Headers& trailers) {
  while (!bytes.empty()) {
    const auto taken = wire.codec().send_body(1, bytes, std::nullopt);
    ASSERT_TRUE(taken);
    bytes.remove_prefix(*taken);
    wire.flush();
    if (*taken > 0) continue;
    wire.codec().input().append(raw.read_some());
    const auto event = wire.codec().next();
    ASSERT_TRUE(event && !*event);
  }
  EXPECT_TRUE(wire.codec().send_end(1, trailers));
  wire.flush();
}

// What an h1 client without gzip is given of `body`, which an h2 origin sent in that coding.
Answer plain_of_h2(const std::string& body, const http::Headers& trailers) {
  RigOptions options;
  options.config.routes.emplace_back().upstream_http = config::UpstreamHttp::V2;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([&](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    wire.until("END");
    http::ResponseHead head;
    head.status = 200;
    head.version = http::Version::Http2;
    head.headers.add("content-encoding", "gzip");
    EXPECT_TRUE(wire.codec().send_response(1, head, http::EndStream::No));
    send_all(raw, wire, zipped(body), trailers);
    wire.until("EOF");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(kTakesGzip), HasSubstr("content-encoding: gzip"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  return parse(rig.ask(kTakesPlain));
}

TEST(ReplayRecoded, WhatCameOverHttp2WithTrailersIsChunkedOnce) {
  http::Headers trailers;
  trailers.add("x-sum", "1");
  const Answer answer = plain_of_h2("the plain text", trailers);
  EXPECT_EQ(count_of(answer.head, "Transfer-Encoding"), 1U) << answer.head;
  EXPECT_EQ(answer.body, "the plain text");
  EXPECT_EQ(answer.rest, "x-sum: 1\r\n\r\n<EOF>");
}

TEST(ReplayRecoded, WhatCameOverHttp2AndIsLongIsChunkedOnce) {
  std::string text;
  for (unsigned i = 0; text.size() < 5U << 20; ++i) text += std::to_string(i * 2654435761U) + "\n";
  const Answer answer = plain_of_h2(text, {});
  EXPECT_EQ(count_of(answer.head, "Transfer-Encoding"), 1U) << answer.head;
  EXPECT_TRUE(answer.body == text);
  EXPECT_EQ(answer.rest, "\r\n<EOF>");
}

// Zeros: a body of a few KiB, and a thousand times as many bytes.
Answer plain_zeros(size_t size) {
  WorkerRig rig;
  const std::string coded = zipped(std::string(size, '0'));
  ScriptedOrigin origin(http_origin([&](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + std::to_string(coded.size()) + "\r\n\r\n" +
           coded;
  }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask(kTakesGzip), HasSubstr("Content-Encoding: gzip"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  return parse(rig.ask(kTakesPlain));
}

TEST(ReplayRecoded, AShortBodyThatBecomesLongIsSentPlainWithItsLength) {
  const Answer answer = plain_zeros(8U << 20);
  EXPECT_THAT(answer.head, Not(HasSubstr("Content-Encoding")));
  EXPECT_THAT(answer.head, HasSubstr("Content-Length: " + std::to_string(8U << 20)));
  EXPECT_EQ(answer.body.size(), (8U << 20) + 5) << "and <EOF>";
}

TEST(ReplayRecoded, AShortBodyThatBecomesTooLongToBeHeldIsChunked) {
  const Answer answer = plain_zeros(17U << 20);
  EXPECT_THAT(answer.head, Not(HasSubstr("Content-Encoding")));
  EXPECT_EQ(count_of(answer.head, "Transfer-Encoding"), 1U) << answer.head;
  EXPECT_EQ(answer.body.size(), 17U << 20);
  EXPECT_EQ(answer.rest, "\r\n<EOF>");
}

}  // namespace
}  // namespace tapdeck::server

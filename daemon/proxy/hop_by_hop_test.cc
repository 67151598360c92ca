#include "daemon/proxy/hop_by_hop.h"

#include <gtest/gtest.h>

namespace tapdeck::proxy {
namespace {

// "Name: value|Name: value"
http::Headers headers(std::string_view text) {
  http::Headers out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('|'), text.size());
    const std::string_view field = text.substr(0, end);
    const size_t colon = field.find(": ");
    out.add(field.substr(0, colon), field.substr(colon + 2));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string text(const http::Headers& from) {
  std::string out;
  for (size_t i = 0; i < from.size(); ++i) {
    out += (out.empty() ? "" : "|") + std::string(from[i].name) + ": " + std::string(from[i].value);
  }
  return out;
}

std::string stripped(std::string_view fields, http::Version version = http::Version::Http11) {
  http::RequestHead out;
  out.version = version;
  out.headers = headers(fields);
  strip_hop_by_hop(out);
  return text(out.headers);
}

TEST(HopByHop, EndToEndFieldsKeepOrderCaseAndRepeats) {
  EXPECT_EQ(stripped("Host: a|x-b: 1|X-B: 2|Cookie: c"), "Host: a|x-b: 1|X-B: 2|Cookie: c");
}

TEST(HopByHop, ConnectionAndWhatItNamesEndHere) {
  EXPECT_EQ(stripped("Host: a|Connection: close, X-Secret|X-Secret: 1|Keep-Alive: timeout=5|x-SECRET: 2|A: b"),
            "Host: a|A: b");
  EXPECT_EQ(stripped("Proxy-Connection: keep-alive|Proxy-Authorization: Basic eA==|Proxy-Authenticate: Basic|A: b"),
            "A: b");
}

TEST(HopByHop, ConnectionCannotTakeAwayWhatFramesOrNamesTheMessage) {
  EXPECT_EQ(stripped("Host: a|Content-Length: 3|Connection: host, content-length"), "Host: a|Content-Length: 3");
  EXPECT_EQ(stripped("Transfer-Encoding: chunked|Connection: Transfer-Encoding"), "Transfer-Encoding: chunked");
}

TEST(HopByHop, UpgradesAndTheTrailersPromiseGoOn) {
  EXPECT_EQ(stripped("Connection: keep-alive, Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k"),
            "Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k");
  EXPECT_EQ(stripped("Upgrade: h2c|A: b"), "A: b") << "not asked for by Connection";
  EXPECT_EQ(stripped("TE: trailers, deflate|Connection: TE"), "TE: trailers|Connection: TE");
}

TEST(HopByHop, TrailersAreAskedForWithTheConnectionFieldThatHttp1Needs) {
  EXPECT_EQ(stripped("TE: trailers|A: b"), "TE: trailers|A: b|Connection: TE");
  EXPECT_EQ(stripped("Connection: close, TE|TE: trailers"), "Connection: TE|TE: trailers");
  EXPECT_EQ(stripped("Connection: TE, Upgrade|TE: trailers|Upgrade: websocket"),
            "Connection: Upgrade, TE|TE: trailers|Upgrade: websocket");
  EXPECT_EQ(stripped("Connection: TE|TE: deflate"), "");
  EXPECT_EQ(stripped("te: trailers", http::Version::Http2), "te: trailers");
  http::ResponseHead response;
  response.headers = headers("TE: trailers|A: b");
  strip_hop_by_hop(response);
  EXPECT_EQ(text(response.headers), "A: b") << "of requests alone";
}

}  // namespace
}  // namespace tapdeck::proxy

#include "daemon/config/upstream_url.h"

#include <gtest/gtest.h>

namespace tapdeck::config {
namespace {

using Scheme = UpstreamUrl::Scheme;

TEST(UpstreamUrl, SaysSchemeHostPortAndWhatHostWillSay) {
  const struct {
    std::string text;
    Scheme scheme;
    std::string host;
    uint16_t port;
    std::string authority;
  } table[] = {{"http://api.internal", Scheme::Http, "api.internal", 80, "api.internal"},
               {"http://api.internal:80/", Scheme::Http, "api.internal", 80, "api.internal"},
               {"http://127.0.0.1:8081", Scheme::Http, "127.0.0.1", 8081, "127.0.0.1:8081"},
               {"https://[2001:db8::1]", Scheme::Https, "2001:db8::1", 443, "[2001:db8::1]"},
               {"https://[::1]:8443", Scheme::Https, "::1", 8443, "[::1]:8443"},
               {"h2c://grpc:50051", Scheme::H2c, "grpc", 50051, "grpc:50051"}};
  for (const auto& row : table) {
    const auto url = UpstreamUrl::parse(row.text);
    ASSERT_TRUE(url) << row.text << ": " << url.error().message();
    EXPECT_EQ(url->scheme, row.scheme) << row.text;
    EXPECT_EQ(url->host, row.host) << row.text;
    EXPECT_EQ(url->port, row.port) << row.text;
    EXPECT_EQ(url->authority, row.authority) << row.text;
  }
}

TEST(UpstreamUrl, RefusesWhatItWouldHaveToGuessAbout) {
  for (const std::string text :
       {"", "api.internal", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a:0", "http://a:x",
        "http://a:70000", "http://[zz]", "http://[::1", "http://a b", "http://2001:db8::1"}) {
    EXPECT_FALSE(UpstreamUrl::parse(text)) << text;
  }
}

}  // namespace
}  // namespace tapdeck::config

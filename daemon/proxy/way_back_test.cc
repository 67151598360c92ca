#include "daemon/proxy/way_back.h"

#include <gtest/gtest.h>

#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {
namespace {

struct Turned {
  std::optional<std::string> path, prefix, rewrite;
  std::string location;  // of the upstream
  std::string expected;  // what the client gets
};

std::string turned(config::Route route, const std::string& location) {
  http::RequestHead request;
  request.scheme = "http";
  request.authority = "localhost:8080";
  const auto upstream = config::UpstreamUrl::parse(*route.upstream);
  http::Headers headers;
  headers.add("Location", location);
  headers.add("Content-Location", location);
  WayBack::of(route, *upstream, request).apply(headers);
  EXPECT_EQ(headers.find("location"), headers.find("content-location"));
  return std::string(*headers.find("location"));
}

config::Route reverse_to(const std::string& upstream) {
  config::Route route;
  route.upstream = upstream;
  return route;
}

TEST(WayBack, TheUpstreamsOwnUrlsLeadToUs) {
  const Turned table[] = {
      {{}, {}, {}, "https://Shop.example.com/x?q#f", "http://localhost:8080/x?q#f"},
      {{}, {}, {}, "HTTPS://shop.example.com:443", "http://localhost:8080/"},
      {{}, {}, {}, "//shop.example.com/x", "http://localhost:8080/x"},
      {{}, "/api", {}, "https://shop.example.com/api/x?q", "http://localhost:8080/api/x?q"},
      {{}, "/api", {}, "https://shop.example.com/api", "http://localhost:8080/api"},
      {{}, "/api", {}, "https://shop.example.com/apix", "http://localhost:8080/apix"},
      {"/a", {}, {}, "https://shop.example.com/a?q#f", "http://localhost:8080/a?q#f"},
      {{}, "/shop", "/v1", "https://shop.example.com/v1/cart", "http://localhost:8080/shop/cart"},
      {{}, "/shop", "/v1", "/v1/cart?a=b", "/shop/cart?a=b"},
      {{}, "/shop", "/", "/cart", "/shop/cart"},
      {{}, "/shop", "/", "/", "/shop/"},
      {{}, "/shop/", "/", "/cart", "/shop/cart"},
      {{}, "/shop/", "/v1/", "/v1/cart", "/shop/cart"},
      {{}, "/shop", "/v1/", "/v1/cart", "/shop/cart"},
      {{}, {}, "/base", "/base/x", "/x"},
      {{}, {}, "/base", "https://shop.example.com/base", "http://localhost:8080/"},
      {{}, {}, "/base/", "/base/x", "/x"},
      {"/a", {}, "/b", "/b?q", "/a?q"},
  };
  for (const Turned& row : table) {
    config::Route route = reverse_to("https://shop.example.com");
    route.path = row.path;
    route.path_prefix = row.prefix;
    route.rewrite_path = row.rewrite;
    EXPECT_EQ(turned(route, row.location), row.expected) << row.location;
    const size_t at = row.expected.starts_with('/') ? 0 : std::string("http://localhost:8080").size();
    if (row.rewrite && !row.location.ends_with("/base")) {
      EXPECT_TRUE(row.location.ends_with(rewritten_target(route, row.expected.substr(at)))) << row.expected;
    }
  }
}

TEST(WayBack, WhatIsNotTheUpstreamsOrCannotBeAskedForStays) {
  config::Route route = reverse_to("https://shop.example.com");
  route.path_prefix = "/shop";
  route.rewrite_path = "/v1";
  for (const std::string location :
       {"http://shop.example.com/v1/x", "https://shop.example.com:8443/v1/x", "https://login.example.com/v1/x",
        "https://u@shop.example.com/v1/x", "https://shop.example.com/login", "/login", "cart", "?page=2",
        "cart?next=https://shop.example.com/v1/x", "mailto:a@b.test", ""}) {
    EXPECT_EQ(turned(route, location), location);
  }
  route.path_prefix.reset();
  route.rewrite_path = "/base";
  EXPECT_EQ(turned(route, "/basement"), "/basement");
  route.rewrite_path = "/b";
  route.path = "/a";
  EXPECT_EQ(turned(route, "/b/c"), "/b/c");
  config::Route app = reverse_to("https://shop.example.com");
  app.path_prefix = "/app";
  for (const std::string location :
       {"https://shop.example.com/login", "https://shop.example.com", "/login", "/app/x"}) {
    EXPECT_EQ(turned(app, location), location) << "no request is sent there, or it leads there as it is";
  }
  app.path_prefix.reset();
  app.path = "/a";
  EXPECT_EQ(turned(app, "https://shop.example.com/a/b"), "https://shop.example.com/a/b");
  config::Route same_host = reverse_to("https://shop.example.com");
  same_host.rewrite_host = false;
  EXPECT_EQ(turned(same_host, "https://shop.example.com/x"), "https://shop.example.com/x");
}

TEST(WayBack, WhereTheUpstreamIsToldTheClientsHostItsUrlsNameThat) {
  config::Route route = reverse_to("http://shop.internal:9000");
  route.rewrite_host = false;
  EXPECT_EQ(turned(route, "http://localhost:8080/v1/cart"), "http://localhost:8080/v1/cart");
  route.path_prefix = "/shop";
  route.rewrite_path = "/v1";
  const Turned table[] = {
      {{}, {}, {}, "http://localhost:8080/v1/cart", "http://localhost:8080/shop/cart"},
      {{}, {}, {}, "//LOCALHOST:8080/v1/cart?a", "http://localhost:8080/shop/cart?a"},
      {{}, {}, {}, "/v1/cart", "/shop/cart"},
      {{}, {}, {}, "http://localhost:8080/login", "http://localhost:8080/login"},
      {{}, {}, {}, "http://localhost/v1/cart", "http://localhost/v1/cart"},
      {{}, {}, {}, "http://shop.internal:9000/v1/cart", "http://shop.internal:9000/v1/cart"},
  };
  for (const Turned& row : table) EXPECT_EQ(turned(route, row.location), row.expected);
}

TEST(WayBack, AnUpstreamIsKnownByItsPortAndInBrackets) {
  EXPECT_EQ(turned(reverse_to("http://[2001:db8::1]:81"), "http://[2001:DB8::1]:81/x"), "http://localhost:8080/x");
  EXPECT_EQ(turned(reverse_to("h2c://api.internal"), "http://api.internal/x"), "http://localhost:8080/x");
}

}  // namespace
}  // namespace tapdeck::proxy

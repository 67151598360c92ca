#include "daemon/proxy/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::proxy {
namespace {

using exchange::UpstreamRoute;
using ::testing::HasSubstr;

http::RequestHead request(std::string method, std::string target, std::string authority, std::string scheme = "http") {
  http::RequestHead head;
  head.method = std::move(method);
  head.target = std::move(target);
  head.authority = std::move(authority);
  head.scheme = std::move(scheme);
  head.headers.add("Host", head.authority);
  return head;
}

const IsProxy kNoProxy = [](const Endpoint&) { return false; };

Forwarded forwarded(const http::RequestHead& head, const std::vector<config::Route>& routes = {}) {
  Plan plan = plan_request(head, routes, "explicit", kNoProxy);
  const auto* found = std::get_if<Forwarded>(&plan);
  EXPECT_NE(found, nullptr) << head.target;
  return found == nullptr ? Forwarded{} : *found;
}

TEST(Plan, AbsoluteFormGoesWhereItSaysAsOriginForm) {
  const struct {
    std::string target, authority, scheme, origin_form, host;
    uint16_t port;
  } table[] = {{"http://api.test/a?b=c", "api.test", "http", "/a?b=c", "api.test", 80},
               {"http://API.test:8080/", "API.test:8080", "http", "/", "api.test", 8080},
               {"http://api.test", "api.test", "http", "/", "api.test", 80},
               {"http://api.test?q", "api.test", "http", "/?q", "api.test", 80},
               {"https://api.test/x#f", "api.test", "https", "/x", "api.test", 443},
               {"http://[::1]:81/x", "[::1]:81", "http", "/x", "::1", 81}};
  for (const auto& row : table) {
    const Forwarded out = forwarded(request("GET", row.target, row.authority, row.scheme));
    EXPECT_EQ(out.head.target, row.origin_form) << row.target;
    EXPECT_EQ(out.destination.host, row.host) << row.target;
    EXPECT_EQ(out.destination.port, row.port) << row.target;
    EXPECT_EQ(out.route.security,
              row.scheme == "https" ? UpstreamRoute::Security::Tls : UpstreamRoute::Security::Clear);
    EXPECT_EQ(out.head.headers.find("host"), row.authority);
  }
  EXPECT_EQ(forwarded(request("OPTIONS", "http://api.test", "api.test")).head.target, "*");
}

TEST(Plan, ProxyFieldsDoNotReachTheOrigin) {
  http::RequestHead head = request("GET", "http://api.test/", "api.test");
  head.headers.add("Proxy-Authorization", "Basic c2VjcmV0");
  head.headers.add("Proxy-Connection", "keep-alive");
  EXPECT_EQ(forwarded(head).head.headers.size(), 1U);
}

TEST(Plan, OriginFormWithoutARouteIsToldWhatToDo) {
  const Plan plan = plan_request(request("GET", "/secret?token=1", "localhost:8080"), {}, "explicit", kNoProxy);
  const auto& refused = std::get<Refused>(plan);
  EXPECT_EQ(refused.status, 404);
  EXPECT_EQ(refused.error, "no_route");
  EXPECT_THAT(refused.detail, HasSubstr("GET /secret for host 'localhost'"));
  EXPECT_THAT(refused.detail, HasSubstr("upstream = "));
  EXPECT_THAT(refused.detail, HasSubstr("through http_proxy and https_proxy"));
  EXPECT_THAT(refused.detail, ::testing::Not(HasSubstr("token")));
}

config::Route reverse(std::string upstream) {
  config::Route route;
  route.upstream = std::move(upstream);
  return route;
}

TEST(Plan, OriginFormGoesToTheFirstRouteWithAnUpstreamThatFits) {
  config::Route no_upstream;  // matches everything, and is not for us
  config::Route api = reverse("https://api.internal:8443");
  api.path_prefix = "/api";
  config::Route grpc = reverse("h2c://grpc.internal");
  grpc.host = "grpc.*";
  const std::vector<config::Route> routes = {no_upstream, api, grpc, reverse("http://web.internal")};
  const Forwarded first = forwarded(request("GET", "/api/x", "localhost:8080"), routes);
  EXPECT_EQ(first.route.rule, 1U);
  EXPECT_EQ(first.destination.host, "api.internal");
  EXPECT_EQ(first.destination.port, 8443);
  EXPECT_EQ(first.route.security, UpstreamRoute::Security::Tls);
  EXPECT_EQ(first.head.scheme, "https");
  EXPECT_EQ(first.head.headers.find("host"), "api.internal:8443");
  EXPECT_EQ(first.head.authority, "api.internal:8443");
  const Forwarded second = forwarded(request("POST", "/x", "grpc.local"), routes);
  EXPECT_EQ(second.route.offer, "h2c");
  EXPECT_EQ(second.route.security, UpstreamRoute::Security::Clear);
  EXPECT_EQ(forwarded(request("GET", "/", "localhost"), routes).route.rule, 3U);
}

TEST(Plan, HostStaysWhereTheRouteSaysSo) {
  config::Route route = reverse("http://web.internal");
  route.rewrite_host = false;
  const Forwarded out = forwarded(request("GET", "/", "www.test"), {route});
  EXPECT_EQ(out.head.headers.find("host"), "www.test");
  EXPECT_EQ(out.head.authority, "www.test");
  EXPECT_EQ(out.destination.host, "web.internal");
}

TEST(Plan, RewritePathTakesThePlaceOfWhatMatched) {
  const struct {
    std::optional<std::string> path, prefix;
    std::string rewrite, target, expected;
  } table[] = {{{}, "/api", "/v1", "/api/x?q=1", "/v1/x?q=1"},
               {{}, "/api/", "/", "/api/x", "/x"},
               {{}, "/api", "/", "/api/x", "/x"},
               {{}, "/api", "/", "/api", "/"},
               {{}, "/api", "/v1", "/apix", "/v1x"},
               {"/a", {}, "/b", "/a?q", "/b?q"},
               {{}, {}, "/base", "/x", "/base/x"},
               {{}, {}, "/base/", "/x", "/base/x"},
               {{}, "/api", "/", "/api?q", "/?q"}};
  for (const auto& row : table) {
    config::Route route = reverse("http://a");
    route.path = row.path;
    route.path_prefix = row.prefix;
    route.rewrite_path = row.rewrite;
    EXPECT_EQ(rewritten_target(route, row.target), row.expected) << row.target;
  }
  EXPECT_EQ(rewritten_target(reverse("http://a"), "/as/it?is"), "/as/it?is");
}

TEST(Plan, Http2SaysItsDestinationInPseudoHeaders) {
  http::RequestHead head = request("GET", "/x", "api.test", "https");
  head.version = http::Version::Http2;
  head.headers.clear();
  const Forwarded out = forwarded(head);
  EXPECT_EQ(out.destination.host, "api.test");
  EXPECT_EQ(out.destination.port, 443);
  EXPECT_EQ(out.head.target, "/x");
  EXPECT_TRUE(out.head.headers.empty());
  EXPECT_EQ(out.route.offer, "h2,http/1.1");
  head.scheme = "http";
  EXPECT_EQ(forwarded(head).route.offer, "h2c") << "it knew beforehand that the origin speaks it";
}

TEST(Plan, OverHttp2WhatNamesTheProxyItselfIsARequestToIt) {
  const Endpoint own = *Endpoint::parse("127.0.0.1:3128");
  const IsProxy is_proxy = [&own](const Endpoint& endpoint) { return endpoint == own; };
  const auto planned = [&](const std::string& authority) {
    http::RequestHead head = request("GET", "/x", authority);
    head.version = http::Version::Http2;
    return plan_request(head, {}, "explicit", is_proxy);
  };
  for (const char* authority : {"127.0.0.1:3128", "localhost:3128", "LocalHost:3128", "app.localhost:3128"}) {
    const Plan plan = planned(authority);
    const auto* refused = std::get_if<Refused>(&plan);
    ASSERT_NE(refused, nullptr) << authority;
    EXPECT_EQ(refused->status, 404) << authority;
    EXPECT_EQ(refused->error, "no_route") << authority;
  }
  for (const char* authority : {"127.0.0.1:3129", "127.0.0.2:3128", "localhost", "api.test:3128"}) {
    EXPECT_TRUE(std::holds_alternative<Forwarded>(planned(authority))) << authority;
  }
}

}  // namespace
}  // namespace tapdeck::proxy

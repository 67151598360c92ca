#include "daemon/proxy/max_forwards.h"

#include <gtest/gtest.h>

#include <variant>

#include "daemon/proxy/plan.h"

namespace tapdeck::proxy {
namespace {

http::RequestHead counted_request(const std::string& method, const std::string& left) {
  http::RequestHead head;
  head.method = method;
  head.target = "http://api.test/x";
  head.scheme = "http";
  head.authority = "api.test";
  head.headers.add("Host", "api.test");
  head.headers.add("Max-Forwards", left);
  return head;
}

Plan planned(const http::RequestHead& head) {
  return plan_request(head, {}, "explicit", [](const Endpoint&) { return false; });
}

TEST(MaxForwards, TheLastProxyAnswersOptionsAndTraceItself) {
  const Plan options = planned(counted_request("OPTIONS", "0"));
  ASSERT_TRUE(std::holds_alternative<OwnAnswer>(options));
  EXPECT_EQ(std::get<OwnAnswer>(options).head.status, 200);
  EXPECT_EQ(std::get<OwnAnswer>(options).head.headers.find("content-length"), "0");
  http::RequestHead head = counted_request("TRACE", "0");
  head.headers.add("Cookie", "secret");
  head.headers.add("Authorization", "Basic c2VjcmV0");
  head.headers.add("Via", "1.1 front");
  const Plan trace = planned(head);
  ASSERT_TRUE(std::holds_alternative<OwnAnswer>(trace));
  const auto& own = std::get<OwnAnswer>(trace);
  EXPECT_EQ(own.head.headers.find("content-type"), "message/http");
  EXPECT_EQ(own.head.headers.find("content-length"), std::to_string(own.body.size()));
  EXPECT_EQ(own.body,
            "TRACE http://api.test/x HTTP/1.1\r\nHost: api.test\r\nMax-Forwards: 0\r\nVia: 1.1 front\r\n\r\n");
}

TEST(MaxForwards, EveryOtherProxyCountsDown) {
  const struct {
    std::string method, left, sent;
  } table[] = {{"OPTIONS", "1", "0"},
               {"TRACE", "10", "9"},
               {"GET", "0", "0"},
               {"OPTIONS", "x", "x"},
               {"OPTIONS", "-1", "-1"},
               {"OPTIONS", "99999999999999999999", "18446744073709551614"},
               {"OPTIONS", "99999999999999999999x", "99999999999999999999x"}};
  for (const auto& row : table) {
    const Plan plan = planned(counted_request(row.method, row.left));
    ASSERT_TRUE(std::holds_alternative<Forwarded>(plan)) << row.method << " " << row.left;
    EXPECT_EQ(std::get<Forwarded>(plan).head.headers.find("max-forwards"), row.sent) << row.method << " " << row.left;
  }
}

}  // namespace
}  // namespace tapdeck::proxy

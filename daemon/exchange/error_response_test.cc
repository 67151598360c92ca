#include "daemon/exchange/error_response.h"

#include <gtest/gtest.h>

namespace tapdeck::exchange {
namespace {

TEST(ErrorResponse, NamesUpstreamFailuresAsTheContractDoes) {
  const struct {
    Code code;
    int status;
    const char* name;
    Counter counter;
  } table[] = {{Code::Refused, 502, "upstream_connect", Counter::UpstreamRefused},
               {Code::Unreachable, 502, "upstream_connect", Counter::UpstreamUnreachable},
               {Code::Timeout, 504, "upstream_timeout", Counter::UpstreamTimeout},
               {Code::Tls, 502, "upstream_tls", Counter::UpstreamTls},
               {Code::TlsVerify, 502, "upstream_tls", Counter::UpstreamTls},
               {Code::Reset, 502, "upstream_reset", Counter::UpstreamReset},
               {Code::Truncated, 502, "upstream_truncated", Counter::UpstreamTruncated},
               {Code::Dns, 502, "upstream_dns", Counter::UpstreamDns},
               {Code::Exhausted, 502, "upstream_connect", Counter::UpstreamUnreachable},
               {Code::Protocol, 502, "upstream_protocol", Counter::UpstreamProtocol}};
  for (const auto& row : table) {
    const Error error{row.code, "x", Origin::Upstream, Retry::No, 0};
    EXPECT_EQ(status_of(error), row.status) << row.name;
    EXPECT_EQ(name_of(error), row.name);
    EXPECT_EQ(counter_of(error), row.counter) << row.name;
  }
}

TEST(ErrorResponse, BlamesTheClientForItsOwnMistakes) {
  const auto of = [](Code code) { return status_of(Error{code, "", Origin::Downstream, Retry::No, 0}); };
  EXPECT_EQ(of(Code::Protocol), 400);
  EXPECT_EQ(of(Code::Truncated), 400);
  EXPECT_EQ(of(Code::TooLarge), 431);
  EXPECT_EQ(of(Code::Unsupported), 501);
  EXPECT_EQ(of(Code::Timeout), 408);
  EXPECT_EQ(of(Code::Permission), 403);
  EXPECT_EQ(name_of(Error{Code::Permission, "", Origin::Downstream, Retry::No, 0}), "refused_destination");
}

TEST(ErrorResponse, ABodyBeyondItsLimitIsNoHeadBeyondIts) {
  const Error request = body_limit(Origin::Downstream);
  const Error response = body_limit(Origin::Upstream);
  const Error head{Code::TooLarge, "", Origin::Downstream, Retry::No, 0};
  EXPECT_TRUE(is_body_limit(request));
  EXPECT_TRUE(is_body_limit(response));
  EXPECT_FALSE(is_body_limit(head));
  EXPECT_FALSE(is_body_limit(http::field_limit(Origin::Downstream)));
  EXPECT_EQ(status_of(request), 413);
  EXPECT_EQ(name_of(request), "body_too_large");
  EXPECT_EQ(status_of(response), 502);
  EXPECT_EQ(name_of(response), "upstream_too_large");
  EXPECT_EQ(status_of(head), 431);
  EXPECT_EQ(status_of(http::field_limit(Origin::Downstream)), 431);
}

TEST(ErrorResponse, OnlyRefusalsThatMeanSomethingAreCounted) {
  const auto of = [](Code code) { return refusal_counter_of(Error{code, "", Origin::Downstream, Retry::No, 0}); };
  EXPECT_EQ(of(Code::TooLarge), Counter::LimitHeadBytes);
  EXPECT_EQ(refusal_counter_of(http::field_limit(Origin::Downstream)), Counter::LimitHeaderCount);
  EXPECT_EQ(of(Code::Unsupported), Counter::UnknownMethod);
  EXPECT_EQ(of(Code::Closed), Counter::BadRequest);
  EXPECT_EQ(of(Code::Protocol), std::nullopt);
  EXPECT_EQ(of(Code::Truncated), std::nullopt);
  EXPECT_EQ(of(Code::Exhausted), std::nullopt);
}

TEST(ErrorResponse, JsonStringsCannotBeBrokenByPeers) {
  EXPECT_EQ(json_string("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  EXPECT_EQ(json_string("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"");
  EXPECT_EQ(json_string("\xff\xc3"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(json_string("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace tapdeck::exchange

#include "daemon/grpc/call.h"

#include <gtest/gtest.h>

namespace tapdeck::grpc {
namespace {

using namespace std::chrono_literals;

TEST(GrpcCall, KnowsItsContentTypes) {
  for (const char* type : {"application/grpc", "application/grpc+proto", "application/grpc+json; charset=utf-8",
                           "Application/gRPC", "application/grpc;x=y"}) {
    EXPECT_TRUE(is_grpc_content_type(type)) << type;
  }
  for (const char* type : {"application/grpc-web", "application/grpc-web+proto", "application/grpcs", "text/plain", ""})
    EXPECT_FALSE(is_grpc_content_type(type)) << type;
}

TEST(GrpcCall, IsAPostWithThatType) {
  http::RequestHead head;
  head.method = "POST";
  EXPECT_FALSE(is_call(head));
  head.headers.add("content-type", "application/grpc");
  EXPECT_TRUE(is_call(head));
  head.method = "GET";
  EXPECT_FALSE(is_call(head));
}

TEST(GrpcCall, ReadsEveryUnitOfATimeout) {
  EXPECT_EQ(parse_timeout("1H"), 1h);
  EXPECT_EQ(parse_timeout("2M"), 2min);
  EXPECT_EQ(parse_timeout("3S"), 3s);
  EXPECT_EQ(parse_timeout("100m"), 100ms);
  EXPECT_EQ(parse_timeout("99999999u"), 99999999us);
  EXPECT_EQ(parse_timeout("5n"), 5ns);
  EXPECT_EQ(parse_timeout("99999999H"), 2'000'000h);
  for (const char* bad : {"", "S", "1", "1s", "123456789S", "-1S", "1.5S", "xS"})
    EXPECT_FALSE(parse_timeout(bad)) << bad;
}

TEST(GrpcCall, ReachesItsDeadlineALittleEarly) {
  http::Headers fields;
  EXPECT_FALSE(has_reached_deadline(fields, 1h));
  fields.add("grpc-timeout", "1S");
  EXPECT_FALSE(has_reached_deadline(fields, 989ms));
  EXPECT_TRUE(has_reached_deadline(fields, 990ms));
  fields.set("grpc-timeout", "20m");
  EXPECT_FALSE(has_reached_deadline(fields, 17ms));
  EXPECT_TRUE(has_reached_deadline(fields, 18ms));
  fields.set("grpc-timeout", "soon");
  EXPECT_FALSE(has_reached_deadline(fields, 1h));
}

TEST(GrpcCall, ReadsStatusAndEncoding) {
  http::Headers fields;
  EXPECT_EQ(message_encoding(fields), "identity");
  EXPECT_FALSE(status_of(fields));
  fields.add("grpc-encoding", "gzip");
  fields.add("Grpc-Status", "14");
  EXPECT_EQ(message_encoding(fields), "gzip");
  EXPECT_EQ(status_of(fields), 14u);
  fields.set("grpc-status", "fine");
  EXPECT_FALSE(status_of(fields));
}

TEST(GrpcCall, MessagesSurviveTheirEncoding) {
  const std::string text = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and 100 %\t\n";
  EXPECT_EQ(encode_message("100 %\n"), "100 %25%0A");
  EXPECT_EQ(decode_message(encode_message(text)), text);
  EXPECT_EQ(decode_message("50% off %zz %4"), "50% off %zz %4");
}

}  // namespace
}  // namespace tapdeck::grpc

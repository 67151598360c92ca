#include "daemon/grpc/wire_fields.h"

#include <gtest/gtest.h>

namespace tapdeck::grpc {
namespace {

using namespace std::string_literals;

// What a path chooses; "malformed" when the bytes are none.
std::string chosen(std::string_view path, std::string_view message) {
  const auto parsed = config::FieldPath::parse(path);
  EXPECT_TRUE(parsed) << path;
  std::string out;
  return append_fields(*parsed, message, out) == WireFormat::Well ? out : "malformed";
}

// 1: varint 150, 2: "testing", 3: {1: "x"}, 4: fixed32, 5: fixed64
const std::string kMessage =
    "\x08\x96\x01"s + "\x12\x07testing"s + "\x1a\x03\x0a\x01x"s + "\x25\1\2\3\4"s + "\x29\1\2\3\4\5\6\7\x08"s;

TEST(GrpcWireFields, ChoosesByNumberAtEveryDepth) {
  EXPECT_EQ(chosen("1", kMessage), "\0"s + "\x96\0\0\0\0\0\0\0"s);
  EXPECT_EQ(chosen("2", kMessage), "\2"s + "\7\0\0\0\0\0\0\0testing"s);
  EXPECT_EQ(chosen("3.1", kMessage), "\2"s + "\1\0\0\0\0\0\0\0x"s);
  EXPECT_EQ(chosen("4", kMessage), "\5"s + "\4\0\0\0\0\0\0\0\1\2\3\4"s);
  EXPECT_EQ(chosen("5", kMessage).size(), 17u);
  EXPECT_EQ(chosen("6", kMessage), "");
  EXPECT_EQ(chosen("$.1", kMessage), chosen("1", kMessage));
}

TEST(GrpcWireFields, OtherFieldsDoNotMatter) {
  EXPECT_EQ(chosen("2", "\x12\x07testing\x08\x01"s), chosen("2", kMessage));
}

TEST(GrpcWireFields, ANumberIsTheSameHoweverItIsWritten) {
  EXPECT_EQ(chosen("1", "\x08\x01"s), chosen("1", "\x08\x81\x80\x00"s));
}

TEST(GrpcWireFields, RepeatsComeInOrderOrOneOfThem) {
  const std::string repeated = "\x0a\1a\x0a\1b"s;
  EXPECT_EQ(chosen("1", repeated), "\2"s + "\1\0\0\0\0\0\0\0a"s + "\2"s + "\1\0\0\0\0\0\0\0b"s);
  EXPECT_EQ(chosen("1[1]", repeated), "\2"s + "\1\0\0\0\0\0\0\0b"s);
  EXPECT_EQ(chosen("1[2]", repeated), "");
  EXPECT_NE(chosen("1", "\x0a\2ab"s), chosen("1", repeated));
}

TEST(GrpcWireFields, LooksIntoGroups) {
  EXPECT_EQ(chosen("1.2", "\x0b\x10\x05\x0c"s), "\0"s + "\5\0\0\0\0\0\0\0"s);
  EXPECT_EQ(chosen("1", "\x0b\x10\x05\x14"s), "malformed");  // ends another group
  EXPECT_EQ(chosen("1", "\x0c"s), "malformed");
}

TEST(GrpcWireFields, SaysWhenBytesAreNoMessage) {
  EXPECT_EQ(chosen("1", "\x08"s), "malformed");
  EXPECT_EQ(chosen("1", "\x12\x07test"s), "malformed");
  EXPECT_EQ(chosen("1", "\x00\x01"s), "malformed");  // field 0
  EXPECT_EQ(chosen("1", "\x0e"s), "malformed");      // wire type 6
  EXPECT_EQ(chosen("1.1", "\x08\x01"s), "malformed");
  EXPECT_EQ(chosen("1", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"s), "malformed");
  EXPECT_EQ(chosen("1", std::string(200, '\x0b')), "malformed");
}

}  // namespace
}  // namespace tapdeck::grpc

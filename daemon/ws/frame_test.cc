#include "daemon/ws/frame.h"

#include <gtest/gtest.h>

namespace tapdeck::ws {
namespace {

TEST(Frame, WritesTheExamplesOfTheRfc) {
  std::string out;
  append_frame(out, Opcode::Text, "Hello");
  EXPECT_EQ(out, "\x81\x05Hello");
  out.clear();
  append_frame(out, Opcode::Text, "Hello", Compressed::No, Mask{0x37, 0xfa, 0x21, 0x3d});
  EXPECT_EQ(out, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
  out.clear();
  append_frame(out, Opcode::Binary, std::string(256, 'b'));
  EXPECT_EQ(out.substr(0, 4), std::string("\x82\x7e\x01\x00", 4));
  out.clear();
  append_frame(out, Opcode::Binary, std::string(65536, 'b'));
  EXPECT_EQ(out.substr(0, 10), std::string("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10));
}

TEST(Frame, LengthFormsReadBackAtTheirBorders) {
  for (const size_t length : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U, 70000U}) {
    std::string wire;
    append_frame(wire, Opcode::Binary, std::string(length, 'x'), Compressed::No, Mask{1, 2, 3, 4});
    FrameParser parser(From::Client, Rsv1::Reserved);
    std::string_view bytes = wire;
    const auto piece = parser.next(bytes);
    ASSERT_TRUE(piece && *piece) << length;
    EXPECT_EQ((*piece)->head.length, length);
    EXPECT_TRUE((*piece)->begins() && (*piece)->ends()) << length;
    EXPECT_TRUE(bytes.empty() && parser.is_between_frames());
  }
}

TEST(Frame, LengthInMoreBytesThanNeededIsTaken) {
  FrameParser parser(From::Server, Rsv1::Reserved);
  std::string_view bytes("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", 11);
  const auto piece = parser.next(bytes);
  ASSERT_TRUE(piece && *piece);
  EXPECT_EQ((*piece)->payload, "x");
}

TEST(Frame, MaskIsAppliedAtAnyOffset) {
  const Mask mask = {0x11, 0x22, 0x33, 0x44};
  const std::string plain = "the quick brown fox jumps over the lazy dog";
  std::string whole = plain;
  apply_mask(mask, 0, whole.data(), whole.size());
  for (size_t cut = 0; cut <= plain.size(); ++cut) {
    std::string parts = plain;
    apply_mask(mask, 0, parts.data(), cut);
    apply_mask(mask, cut, parts.data() + cut, parts.size() - cut);
    EXPECT_EQ(parts, whole) << cut;
  }
}

TEST(Frame, CloseReasonIsCutAtACharacter) {
  EXPECT_EQ(close_payload(1000, "bye"), std::string("\x03\xe8") + "bye");
  EXPECT_EQ(close_payload(kNoStatus, "unsaid"), "");
  std::string reason(122, 'a');
  reason += "\xc3\xa9";  // the 123rd byte would be half of it
  EXPECT_EQ(close_payload(1008, reason).size(), 2 + 122U);
  EXPECT_EQ(close_payload(1008, std::string(300, 'a')).size(), 125U);
}

TEST(Frame, CloseCodesAreThoseOfTheRegistry) {
  for (const unsigned code : {1000U, 1001U, 1002U, 1003U, 1007U, 1011U, 1012U, 1014U, 3000U, 3999U, 4000U, 4999U}) {
    EXPECT_TRUE(is_close_code(code)) << code;
  }
  for (const unsigned code : {0U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 1100U, 2000U, 2999U, 5000U, 65535U}) {
    EXPECT_FALSE(is_close_code(code)) << code;
  }
}

}  // namespace
}  // namespace tapdeck::ws

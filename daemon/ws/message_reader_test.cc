#include "daemon/ws/message_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/ws/transcript.h"

namespace tapdeck::ws {
namespace {

using ::testing::ElementsAre;
using Lines = std::vector<std::string>;

struct Case {
  std::string name;
  std::string bytes;  // of a client
  Lines lines;
};

std::string close_frame(unsigned code, const std::string& reason = "") {
  return frame(0x88, close_payload(static_cast<uint16_t>(code), reason));
}

std::vector<Case> cases() {
  const std::string euro = "\xe2\x82\xac";
  return {
      {"Text", frame(0x81, "hi"), {"text hi"}},
      {"EmptyText", frame(0x81, ""), {"text "}},
      {"Binary", frame(0x82, std::string("\0\xff", 2)), {std::string("binary \0\xff", 9)}},
      {"Fragments", frame(0x01, "a") + frame(0x00, "") + frame(0x80, "b"), {"text ab"}},
      {"PingInside", frame(0x01, "a") + frame(0x89, "p") + frame(0x80, "b"), {"ping p", "text ab"}},
      {"Pong", frame(0x8a, ""), {"pong "}},
      {"CharacterAcrossFragments", frame(0x01, euro.substr(0, 1)) + frame(0x80, euro.substr(1)), {"text " + euro}},
      {"Close", close_frame(1000, "bye") + frame(0x81, "late"), {"close 1000 bye"}},
      {"CloseWithoutCode", frame(0x88, ""), {"close 1005 "}},
      {"HalfCode", frame(0x88, "\x03"), {"violation 1002: a Close frame has half a code"}},
      {"BadCode", close_frame(1006), {"violation 1002: close code 1006 is not allowed"}},
      {"BadReason", close_frame(1000, "\xff"), {"violation 1007: a close reason is not UTF-8"}},
      {"Rsv1", frame(0xc1, "x"), {"violation 1002: RSV1 is set where nothing can be compressed"}},
      {"Rsv2", frame(0xa1, "x"), {"violation 1002: reserved bits are set"}},
      {"Rsv3", frame(0x91, "x"), {"violation 1002: reserved bits are set"}},
      {"Opcode3", frame(0x83, "x"), {"violation 1002: opcode 3 is reserved"}},
      {"OpcodeB", frame(0x8b, "x"), {"violation 1002: opcode 11 is reserved"}},
      {"FragmentedPing", frame(0x09, "x"), {"violation 1002: a control frame is fragmented"}},
      {"LongPing", frame(0x89, std::string(126, 'x')), {"violation 1002: a control frame is too long"}},
      {"Unmasked", frame(0x81, "x", false), {"violation 1002: the client sends a frame without a mask"}},
      {"Continuation", frame(0x80, "x"), {"violation 1002: a continuation frame continues nothing"}},
      {"Nested", frame(0x01, "a") + frame(0x81, "b"), {"violation 1002: a message begins inside another"}},
      {"NotUtf8", frame(0x81, "a\xff"), {"violation 1007: a text message is not UTF-8"}},
      {"HalfCharacter", frame(0x81, "\xe2\x82"), {"violation 1007: a text message ends inside a character"}},
      {"GoodThenBad", frame(0x81, "ok") + frame(0x83, ""), {"text ok", "violation 1002: opcode 3 is reserved"}},
      {"HugeLength",
       std::string("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04", 14),
       {"violation 1002: a frame length has its top bit set"}},
      {"TooLong", frame(0x82, std::string(101, 'x')), {"violation 1009: a message is longer than 100 bytes"}},
      {"TooLongTogether",
       frame(0x02, std::string(60, 'x')) + frame(0x80, std::string(41, 'x')),
       {"violation 1009: a message is longer than 100 bytes"}},
  };
}

TEST(MessageReader, TranscriptsReadTheSameCutAnywhere) {
  const ReaderOptions options{From::Client, std::nullopt, 100};
  for (const Case& one : cases()) {
    for (size_t cut = 0; cut <= one.bytes.size(); ++cut) {
      EXPECT_EQ(read_in_two(options, one.bytes, cut), one.lines) << one.name << " cut at " << cut;
    }
  }
}

TEST(MessageReader, ServerMustNotMask) {
  const ReaderOptions options{From::Server, std::nullopt};
  EXPECT_THAT(read_in_two(options, frame(0x81, "x"), 0), ElementsAre("violation 1002: the server masks a frame"));
  EXPECT_THAT(read_in_two(options, frame(0x81, "x", false), 0), ElementsAre("text x"));
}

TEST(MessageReader, CompressedMessagesReadTheSameCutAnywhere) {
  for (const Context context : {Context::Kept, Context::Dropped}) {
    Deflater deflater(context, 15);
    const std::string first = deflater.message("hello hello hello").value(),
                      second = deflater.message("hello hello hello").value(), none = deflater.message("").value();
    const std::string bytes = frame(0xc1, first) + frame(0x41, second.substr(0, 1)) + frame(0x89, "p") +
                              frame(0x80, second.substr(1)) + frame(0x81, "plain") + frame(0xc2, none);
    const ReaderOptions options{From::Client, context};
    const Lines lines = {"text* hello hello hello", "ping p", "text* hello hello hello", "text plain", "binary* "};
    for (size_t cut = 0; cut <= bytes.size(); ++cut) EXPECT_EQ(read_in_two(options, bytes, cut), lines) << cut;
  }
}

TEST(MessageReader, CompressedBytesThatAreNotDeflateAreAViolation) {
  const ReaderOptions options{From::Client, Context::Kept};
  EXPECT_THAT(read_in_two(options, frame(0xc1, "\xff\xff\xff\xff"), 0),
              ElementsAre("violation 1007: a compressed message is not deflate"));
  Deflater deflater(Context::Kept, 15);
  EXPECT_THAT(read_in_two(options, frame(0xc1, deflater.message("\xff").value()), 0),
              ElementsAre("violation 1007: a text message is not UTF-8"));
  EXPECT_THAT(read_in_two(options, frame(0x01, "a") + frame(0xc0, "b"), 0),
              ElementsAre("violation 1002: RSV1 is set where nothing can be compressed"));
}

TEST(MessageReader, CompressionBombStopsAtTheLimit) {
  Deflater deflater(Context::Kept, 15);
  const std::string bomb = deflater.message(std::string(64 << 20, '\0')).value();
  ASSERT_LT(bomb.size(), 80000U);
  const ReaderOptions options{From::Client, Context::Kept, 1 << 20};
  EXPECT_THAT(read_in_two(options, frame(0xc2, bomb), 0),
              ElementsAre("violation 1009: a message inflates to more than 1048576 bytes"));
}

TEST(MessageReader, KnowsWhetherTheStreamMayEnd) {
  MessageReader reader({From::Client, std::nullopt});
  std::vector<Message> out;
  EXPECT_TRUE(reader.is_between_messages());
  ASSERT_TRUE(reader.feed(frame(0x01, "a"), out));
  EXPECT_FALSE(reader.is_between_messages());
  ASSERT_TRUE(reader.feed(frame(0x80, "b"), out));
  EXPECT_TRUE(reader.is_between_messages());
  ASSERT_TRUE(reader.feed("\x81", out));
  EXPECT_FALSE(reader.is_between_messages());
}

}  // namespace
}  // namespace tapdeck::ws

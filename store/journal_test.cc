#include "store/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapdeck::store {
namespace {

Message text(BodySide side, uint64_t offset, uint64_t length) {
  Message message;
  message.side = side;
  message.kind = Message::Kind::Text;
  message.offset = offset;
  message.length = length;
  return message;
}

JournalEntry entry(uint64_t offset, const std::string& bytes, std::vector<Message> messages = {}) {
  JournalEntry out;
  out.offset[1] = offset;
  out.bytes[1] = bytes;
  out.messages = std::move(messages);
  return out;
}

TEST(Journal, EntryReadsBackAndCutOnesAreCorrupt) {
  JournalEntry wanted = entry(7, "bytes", {text(BodySide::Response, 7, 5), text(BodySide::Request, 0, 3)});
  wanted.bytes[0] = "abc";
  std::string encoded;
  encode_journal(wanted, encoded);
  const auto decoded = decode_journal(encoded);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->messages, wanted.messages);
  EXPECT_EQ(decoded->bytes[0] + decoded->bytes[1], "abcbytes");
  EXPECT_EQ(decoded->offset[1], 7U);
  for (size_t cut = 0; cut < encoded.size(); ++cut) EXPECT_FALSE(decode_journal(encoded.substr(0, cut))) << cut;
  EXPECT_FALSE(decode_journal(encoded + "x"));
}

TEST(Journal, TailBeginsWhereTheSegmentsEnd) {
  JournalMerge merge;
  merge.add(entry(0, "abc"));
  merge.add(entry(3, "def"));
  merge.add(entry(6, "ghi"));
  EXPECT_EQ(merge.tail(BodySide::Response, 0), "abcdefghi");
  EXPECT_EQ(merge.tail(BodySide::Response, 4), "efghi") << "a segment took part of an entry";
  EXPECT_EQ(merge.tail(BodySide::Response, 9), "");
  EXPECT_EQ(merge.tail(BodySide::Request, 0), "");
  JournalMerge hole;
  hole.add(entry(0, "abc"));
  hole.add(entry(5, "x"));
  EXPECT_EQ(hole.tail(BodySide::Response, 0), "abc") << "what lies behind a hole is no prefix";
}

TEST(Journal, MessagesEndWithTheFirstThatIsNotWhole) {
  JournalMerge merge;
  merge.add(entry(0, "abc", {text(BodySide::Response, 0, 3), text(BodySide::Response, 3, 9)}));
  merge.add(entry(3, "d", {text(BodySide::Request, 0, 0)}));
  EXPECT_EQ(merge.messages(0, 4).size(), 1U);
  EXPECT_EQ(merge.messages(0, 12).size(), 3U);
}

}  // namespace
}  // namespace tapdeck::store

#include "daemon/names/dns_wire.h"

#include <gmock/gmock.h>

#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using testing::Optional;

const std::string kHeader(kHeaderBytes, '\0');

// A name at `at` behind a header and `before`, which may be compressed.
std::optional<std::string> compressed(const std::string& before, const std::string& name) {
  const std::string message = kHeader + before + name + "behind";
  Reader in(message, kHeader.size() + before.size());
  auto read = read_compressed_name(in);
  if (read) EXPECT_EQ(message.substr(in.at()), "behind");
  return read;
}

TEST(DnsWire, PastTheEndIsNothing) {
  Reader in(std::string_view("\1\2\3", 3));
  EXPECT_EQ(in.word(), 0x0102);
  EXPECT_EQ(in.word(), 0x0300);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.byte(), 0);
}

TEST(DnsWire, ACompressedNameEndsWhereItPoints) {
  EXPECT_THAT(compressed({}, wire_name("A.bc")), Optional(std::string("a.bc")));
  EXPECT_THAT(compressed(wire_name("b.c"), bytes("\1a\xc0\x0c")), Optional(std::string("a.b.c")));
  EXPECT_THAT(compressed(wire_name("b.c"), bytes("\xc0\x0e")), Optional(std::string("c")));
  EXPECT_THAT(compressed(wire_name("c") + bytes("\1b\xc0\x0c"), bytes("\1a\xc0\x0f")), Optional(std::string("a.b.c")));
  EXPECT_THAT(compressed(bytes("\0"), bytes("\xc0\x0c")), Optional(std::string())) << "the root";
}

TEST(DnsWire, ACompressedNameDoesNotGoRound) {
  EXPECT_FALSE(compressed({}, bytes("\xc0\x0c"))) << "at itself";
  EXPECT_FALSE(compressed({}, bytes("\1a\xc0\x0c"))) << "at its own beginning";
  EXPECT_FALSE(compressed(bytes("\1a\xc0\x0c"), bytes("\xc0\x0c"))) << "at one that points at itself";
  EXPECT_FALSE(compressed({}, bytes("\xc0\x0e\1a\0"))) << "forward";
  EXPECT_FALSE(compressed("\4", bytes("\1a\xc0\x0c\1b\0"))) << "back, to a label that has the pointer in it";
  EXPECT_FALSE(compressed({}, bytes("\xc0\x0b"))) << "into the header";
  EXPECT_FALSE(compressed({}, bytes("\x80\x0c"))) << "RFC 1035 4.1.4: reserved";
  EXPECT_FALSE(compressed({}, bytes("\x40")));
}

TEST(DnsWire, ACompressedNameIsNoLongerThanOneWritten) {
  std::string half;
  for (int i = 0; i < 4; ++i) half += "\x1e" + std::string(30, 'a');
  EXPECT_TRUE(compressed(half + '\0', half + bytes("\2aa\2aa\xc0\x0c"))) << "255 bytes";
  EXPECT_FALSE(compressed(half + '\0', half + bytes("\2aa\3aaa\xc0\x0c"))) << "256 bytes";
}

TEST(DnsWire, ACompressedNamePointsOnSoOften) {
  const auto chain = [](unsigned pointers) {
    std::string out = bytes("\0");
    for (unsigned i = 1; i < pointers; ++i) out += word(0xC000 | (i == 1 ? 12 : 13 + 2 * (i - 2)));
    return compressed(out, word(0xC000 | (pointers == 1 ? 12 : 13 + 2 * (pointers - 2))));
  };
  EXPECT_TRUE(chain(1));
  EXPECT_TRUE(chain(127));
  EXPECT_FALSE(chain(128));
}

TEST(DnsWire, ANameCutIsNone) {
  const std::string message = kHeader + wire_name("b.c") + bytes("\1a\xc0\x0c");
  for (size_t cut = 1; cut <= 4; ++cut) {
    Reader in(std::string_view(message).substr(0, message.size() - cut), kHeader.size() + 5);
    EXPECT_FALSE(read_compressed_name(in)) << cut;
  }
}

TEST(DnsWire, ARecordIsReadWhole) {
  const std::string message = kHeader + record(16, bytes("\1t"), wire_name("a"), 5, 3);
  Reader in(message, kHeader.size());
  const auto read = read_record(in);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->begin, kHeader.size());
  EXPECT_EQ(read->type, 16);
  EXPECT_EQ(read->record_class, 3);
  EXPECT_EQ(read->ttl, 65u);
  EXPECT_EQ(message.substr(read->data, read->length), "\1t");
  EXPECT_EQ(in.at(), message.size());
  for (size_t size = kHeader.size(); size < message.size(); ++size) {
    Reader cut(std::string_view(message).substr(0, size), kHeader.size());
    EXPECT_FALSE(read_record(cut)) << size;
  }
}

}  // namespace
}  // namespace tapdeck::names

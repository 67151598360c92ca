#include "daemon/grpc/message_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tapdeck::grpc {
namespace {

using namespace std::string_literals;

// Everything that came out: "+" begins, "." ends, "z" compressed; "!" failed.
std::string scan(MessageScanner& scanner, std::string_view bytes) {
  std::string seen;
  while (true) {
    const auto piece = scanner.next(bytes);
    if (!piece) return seen + "!";
    if (!*piece) return seen;
    if ((*piece)->begins) seen += (*piece)->compressed ? "+z" : "+";
    seen += (*piece)->bytes;
    if ((*piece)->ends) seen += ".";
  }
}

const std::string kTwo = "\0\0\0\0\3abc"s + "\1\0\0\0\2xy"s;

TEST(GrpcMessageScanner, FindsMessagesAndTheirFlags) {
  MessageScanner scanner;
  EXPECT_EQ(scan(scanner, kTwo), "+abc.+zxy.");
  EXPECT_TRUE(scanner.is_between());
}

TEST(GrpcMessageScanner, SeesTheSameHoweverItIsCut) {
  for (size_t cut = 0; cut <= kTwo.size(); ++cut) {
    MessageScanner scanner;
    std::string seen = scan(scanner, std::string_view(kTwo).substr(0, cut));
    seen += scan(scanner, std::string_view(kTwo).substr(cut));
    EXPECT_EQ(seen, "+abc.+zxy.") << cut;
  }
  MessageScanner scanner;
  std::string seen;
  for (const char c : kTwo) seen += scan(scanner, {&c, 1});
  EXPECT_EQ(seen, "+abc.+zxy.");
}

TEST(GrpcMessageScanner, AnEmptyMessageIsOneWithBothMarks) {
  MessageScanner scanner;
  EXPECT_EQ(scan(scanner, "\0\0\0\0\0"s), "+.");
  EXPECT_TRUE(scanner.is_between());
}

TEST(GrpcMessageScanner, KnowsThatAMessageIsUnfinished) {
  MessageScanner scanner;
  EXPECT_EQ(scan(scanner, "\0\0"s), "");
  EXPECT_FALSE(scanner.is_between());
  EXPECT_EQ(scan(scanner, "\0\0\3a"s), "+a");
  EXPECT_FALSE(scanner.is_between());
}

TEST(GrpcMessageScanner, ReadsAllFourBytesOfTheLength) {
  MessageScanner scanner;
  std::string_view bytes("\0\x01\x02\x03\x04q", 6);
  const auto piece = scanner.next(bytes);
  ASSERT_TRUE(piece && *piece);
  EXPECT_EQ((*piece)->length, 0x01020304u);
  EXPECT_FALSE((*piece)->ends);
}

TEST(GrpcMessageScanner, RefusesOtherFlagsAndStaysRefusing) {
  MessageScanner scanner;
  EXPECT_EQ(scan(scanner, "\2\0\0\0\0"s), "!");
  EXPECT_EQ(scan(scanner, "\0\0\0\0\0"s), "!");
  EXPECT_FALSE(scanner.is_between());
}

}  // namespace
}  // namespace tapdeck::grpc

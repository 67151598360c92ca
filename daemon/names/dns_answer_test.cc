// read_answer() of dns_message.h, and the names of types.
#include <gmock/gmock.h>

#include "daemon/names/dns_message.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kQuery = query_of(7, "api.example", kA);

std::vector<std::string> records(unsigned count, const std::string& bytes) {
  const auto answer = read_answer(reply_to(kQuery, 0x8180, count, bytes));
  EXPECT_TRUE(answer);
  return answer ? answer->records : std::vector<std::string>();
}
// Of one record, of the name asked for.
std::string text_of(unsigned type, const std::string& data, unsigned record_class = kInternet) {
  const auto all = records(1, record(type, data, bytes("\xc0\x0c"), 0, record_class));
  return all.empty() ? std::string() : all.front();
}

TEST(DnsAnswer, RecordsAreReadForPeople) {
  EXPECT_EQ(text_of(kA, bytes("\xc0\0\2\1")), "A 192.0.2.1");
  EXPECT_EQ(text_of(kAaaa, bytes("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")), "AAAA 2001:db8::1");
  EXPECT_EQ(text_of(5, wire_name("X.example")), "CNAME x.example");
  EXPECT_EQ(text_of(2, bytes("\2ns\xc0\x0c")), "NS ns.api.example");
  EXPECT_EQ(text_of(12, bytes("\xc0\x10")), "PTR example");
  EXPECT_EQ(text_of(15, word(10) + bytes("\4mail\xc0\x10")), "MX 10 mail.example");
  EXPECT_EQ(text_of(15, word(0) + bytes("\0")), "MX 0 .");
  EXPECT_EQ(text_of(33, word(10) + word(5) + word(443) + wire_name("host.example")), "SRV 10 5 443 host.example");
  EXPECT_EQ(text_of(16, bytes("\5v=One\0\2a\"")), "TXT \"v=One\" \"\" \"a\\\"\"");
  EXPECT_EQ(text_of(kHttps, std::string(23, 'x')), "TYPE65 (23 bytes)");
  EXPECT_EQ(text_of(6, std::string(22, 'x')), "SOA (22 bytes)");
  EXPECT_EQ(text_of(kA, "abcd", 3), "CLASS3 A (4 bytes)");
}

TEST(DnsAnswer, WhatDoesNotReadAsItsTypeHasASize) {
  EXPECT_EQ(text_of(kA, "abc"), "A (3 bytes)");
  EXPECT_EQ(text_of(kAaaa, std::string(17, 'x')), "AAAA (17 bytes)");
  EXPECT_EQ(text_of(5, wire_name("x") + "y"), "CNAME (4 bytes)");
  EXPECT_EQ(text_of(5, bytes("\xc0\x28")), "CNAME (2 bytes)") << "points at itself";
  EXPECT_EQ(text_of(5, bytes("\1x")), "CNAME (2 bytes)");
  EXPECT_EQ(text_of(15, "\1"), "MX (1 bytes)");
  EXPECT_EQ(text_of(16, bytes("\3ab")), "TXT (3 bytes)");
  EXPECT_EQ(text_of(16, {}), "TXT (0 bytes)");
}

TEST(DnsAnswer, NothingOfItActsOnATerminal) {
  EXPECT_EQ(text_of(16, bytes("\7a\x1b[\n\\\0\xff")), "TXT \"a\\027[\\010\\\\\\000\\255\"");
  EXPECT_EQ(text_of(5, bytes("\3\x1b.\x7f\0")), "CNAME \\027\\.\\127");
}

TEST(DnsAnswer, OfLongTextTheBeginning) {
  std::string data;
  for (int i = 0; i < 5; ++i) data += "\xff" + std::string(255, 'a');
  const std::string text = text_of(16, data);
  EXPECT_THAT(text, testing::EndsWith("a\" ... (1280 bytes)"));
  EXPECT_EQ(std::ranges::count(text, 'a'), 4 * 255);
  EXPECT_LT(text_of(16, std::string(60000, '\0')).size(), 4 * kMostText);
  EXPECT_EQ(text_of(16, std::string(kMostText, '\0')).size(), 3 + 3 * kMostText) << "all of it";
}

TEST(DnsAnswer, TwoThatSayTheSameAreEqual) {
  const std::string one = record(kA, "abcd"), other = record(kA, "efgh");
  const auto is_same = [](const std::string& a, const std::string& b) {
    return read_answer(reply_to(kQuery, 0x8180, 2, a)) ==
           read_answer(reply_to(query_of(9, "API.example", kA), 0x8580, 2, b));
  };
  EXPECT_TRUE(is_same(one + other, record(kA, "efgh", wire_name("api.example"), 9) + one));
  EXPECT_FALSE(is_same(one + other, one + one));
}

TEST(DnsAnswer, TheAnswerSectionAloneIsShown) {
  std::string reply = reply_to(kQuery, 0x8183, 0, record(6, "authority") + record(kA, "glue") + opt_record(1232));
  const auto answer = read_answer(reply.replace(8, 4, word(1) + word(2)));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->rcode, Rcode::NxDomain);
  EXPECT_THAT(answer->records, IsEmpty());
}

TEST(DnsAnswer, TheOptRecordHasBitsOfTheCode) {
  std::string reply = reply_to(query_of(7, "a", kA, opt_record(1232)), 0x8180);
  reply.replace(reply.size() - 6, 1, 1, '\1');
  EXPECT_EQ(read_answer(reply), (Answer{Rcode::BadVers, {}}));
}

TEST(DnsAnswer, AQuestionMayBeMissing) {
  const auto answer =
      read_answer(word(7) + word(0x8105) + word(0) + word(1) + word(0) + word(0) + record(kA, "abcd", wire_name("a")));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->rcode, Rcode::Refused);
  EXPECT_THAT(answer->records, ElementsAre("A 97.98.99.100"));
}

TEST(DnsAnswer, WhatIsNoneIsNotRead) {
  EXPECT_FALSE(read_answer({}));
  EXPECT_FALSE(read_answer(kQuery)) << "a query";
  EXPECT_FALSE(read_answer(reply_to(kQuery, 0xA180))) << "of another operation";
  const std::string whole = reply_to(kQuery, 0x8180, 2, record(kA, "abcd") + record(kA, "efgh"));
  EXPECT_TRUE(read_answer(whole + "behind"));
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(read_answer(whole.substr(0, size))) << size;
  EXPECT_FALSE(read_answer(std::string(whole).replace(4, 2, word(0xFFFF)))) << "questions";
}

TEST(DnsAnswer, TypesHaveNamesOrNumbers) {
  for (const uint16_t type : std::initializer_list<uint16_t>{1, 2, 5, 6, 12, 15, 16, 28, 33}) {
    EXPECT_THAT(type_name(type), testing::Not(testing::StartsWith("TYPE")));
    EXPECT_EQ(type_of(type_name(type)), type);
  }
  EXPECT_EQ(type_name(kAaaa), "AAAA");
  EXPECT_EQ(type_name(kHttps), "TYPE65");
  EXPECT_EQ(type_of("aaaa"), kAaaa);
  EXPECT_EQ(type_of("TYPE65"), kHttps);
  EXPECT_EQ(type_of("type65535"), 65535);
  for (const char* other : {"", "TYPE", "TYPE65536", "TYPE-1", "TYPE1x", "TYPE 1", "65", "AA", "A "}) {
    EXPECT_FALSE(type_of(other)) << other;
  }
}

}  // namespace
}  // namespace tapdeck::names

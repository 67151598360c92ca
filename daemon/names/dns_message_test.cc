#include "daemon/names/dns_message.h"

#include <gmock/gmock.h>

#include <vector>

#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

Query read(const std::string& datagram) {
  auto query = read_query(datagram);
  EXPECT_TRUE(query.has_value());
  return query ? *query : Query();
}
// What is said to it; "query" when it is one.
std::string refused(const std::string& datagram) {
  const auto query = read_query(datagram);
  return query ? "query" : query.error().answer;
}
std::string error(unsigned id, unsigned flags) {
  return word(id) + word(flags) + word(0) + word(0) + word(0) + word(0);
}
std::vector<Endpoint> addresses_v6(int count) {
  std::vector<Endpoint> all;
  for (int i = 1; i <= count; ++i) all.push_back(*Endpoint::parse("[2001:db8::" + std::to_string(i) + "]:0"));
  return all;
}

const std::string kFormErr = error(7, 0x8101);

TEST(DnsMessage, AQuestionIsRead) {
  const Query query = read(query_of(0x1234, "Api.Example", kAaaa));
  EXPECT_EQ(query.id, 0x1234);
  EXPECT_EQ(query.name, "api.example");
  EXPECT_EQ(query.type, kAaaa);
  EXPECT_EQ(query.record_class, kInternet);
  EXPECT_EQ(query.question, bytes("\3Api\7Example\0\0\x1c\0\1"));
  EXPECT_FALSE(query.edns);
  EXPECT_EQ(read(query_of(1, "", 2)).name, "");
}

TEST(DnsMessage, BytesOfANameThatAreNoTextAreEscaped) {
  const std::string header = word(7) + word(0x0100) + word(1) + word(0) + word(0) + word(0);
  EXPECT_EQ(read(header + bytes("\6A.b\\\0\xff\1 \0\0\1\0\1")).name, "a\\.b\\\\\\000\\255.\\032");
}

TEST(DnsMessage, WhatHasNoHeaderOrIsAnAnswerIsDropped) {
  const std::string query = query_of(7, "a", kA);
  for (size_t size = 0; size < 12; ++size) EXPECT_EQ(refused(query.substr(0, size)), "") << size;
  EXPECT_EQ(refused(reply_to(query, 0x8180)), "");
}

TEST(DnsMessage, OtherOperationsAreNotImplemented) {
  const std::string query = query_of(7, "a", kA);
  EXPECT_EQ(refused(reply_to(query, 0x2000)), error(7, 0xA004)) << "NOTIFY";
  EXPECT_EQ(refused(reply_to(query, 0x2900)), error(7, 0xA904)) << "UPDATE, recursion desired";
  EXPECT_EQ(refused(reply_to(query, 0x7800).substr(0, 12)), error(7, 0xF804));
}

TEST(DnsMessage, AQueryHasOneQuestion) {
  std::string query = query_of(7, "a", kA);
  EXPECT_EQ(refused(query.replace(4, 2, word(0))), kFormErr);
  EXPECT_EQ(refused(query.replace(4, 2, word(2))), kFormErr);
  EXPECT_EQ(refused(query.replace(4, 2, word(1))), "query");
}

TEST(DnsMessage, AQueryCutAnywhereIsMalformed) {
  const std::string query = query_of(7, "api.example", kA, opt_record(1232));
  for (size_t size = 12; size < query.size(); ++size) EXPECT_EQ(refused(query.substr(0, size)), kFormErr) << size;
  EXPECT_EQ(refused(query + "behind"), "query");
}

TEST(DnsMessage, NamesThatAreNone) {
  const std::string header = word(7) + word(0x0100) + word(1) + word(0) + word(0) + word(0);
  const std::string end = word(kA) + word(kInternet);
  EXPECT_EQ(refused(header + bytes("\xc0\x0c") + end), kFormErr) << "points at itself";
  EXPECT_EQ(refused(header + bytes("\1a\xc0\x0c") + end), kFormErr) << "a loop";
  EXPECT_EQ(refused(header + bytes("\xc0\0") + end), kFormErr) << "points into the header";
  EXPECT_EQ(refused(header + "\x40" + std::string(64, 'a') + '\0' + end), kFormErr) << "a label of 64 bytes";
  std::string name;
  for (int i = 0; i < 4; ++i) name += "\x3e" + std::string(62, 'a');
  EXPECT_EQ(refused(header + name + bytes("\1a\0") + end), "query") << "255 bytes";
  EXPECT_EQ(refused(header + name + bytes("\2aa\0") + end), kFormErr) << "256 bytes";
}

TEST(DnsMessage, TheOptRecordIsRead) {
  EXPECT_EQ(read(query_of(7, "a", kA, opt_record(1232))).edns, (Edns{1232, false}));
  EXPECT_EQ(read(query_of(7, "a", kA, opt_record(4096, 0, 0x8000))).edns, (Edns{4096, true}));
  const std::string two = query_of(7, "a", kA, opt_record(1232)) + opt_record(1232);
  EXPECT_EQ(read(two).edns, (Edns{1232, false})) << "one is announced";
  EXPECT_EQ(refused(std::string(two).replace(10, 2, word(2))), kFormErr);
  EXPECT_FALSE(read(std::string(two).replace(6, 2, word(1)).replace(10, 2, word(0))).edns) << "among the answers";
}

TEST(DnsMessage, AnotherVersionOfEdnsIsTold) {
  EXPECT_EQ(refused(query_of(7, "a", kA, opt_record(1232, 1))), word(7) + word(0x8180) + word(1) + word(0) + word(0) +
                                                                    word(1) + bytes("\1a\0\0\1\0\1") +
                                                                    bytes("\0\0\x29\x10\0\1\0\0\0\0\0"));
}

TEST(DnsMessage, RecordsOfAQueryAreSkipped) {
  const std::string text = bytes("\xc0\x0c\0\x10\0\1\0\0\0\0\0\2\1t");  // TXT "t" of the name asked
  EXPECT_FALSE(read(query_of(7, "a", kA, text)).edns);
  const std::string then_opt = query_of(7, "a", kA, text) + opt_record(1232);
  EXPECT_TRUE(read(std::string(then_opt).replace(10, 2, word(2))).edns);
  EXPECT_EQ(refused(query_of(7, "a", kA, bytes("\x80\x0c\0\x10\0\1\0\0\0\0\0\0"))), kFormErr);
  EXPECT_EQ(refused(query_of(7, "a", kA, bytes("\0\0\x10\0\1\0\0\0\0\xff\xff"))), kFormErr);
}

TEST(DnsMessage, AnAnswerEchoesTheQuestionAsAsked) {
  const std::vector<Endpoint> addresses = {*Endpoint::parse("192.0.2.1"), *Endpoint::parse("2001:db8::1")};
  const std::string query = query_of(0x1234, "aPi.Example", kA);
  EXPECT_EQ(answer_to(read(query), Rcode::NoError, addresses),
            reply_to(query, 0x8180, 2) +  //
                bytes("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1") +
                bytes("\xc0\x0c\0\x1c\0\1\0\0\0\x3c\0\x10\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"));
  EXPECT_EQ(answer_to(read(query), Rcode::NxDomain), reply_to(query, 0x8183));
  const std::string plain = reply_to(query, 0x0010);  // checking disabled, no recursion desired
  EXPECT_EQ(answer_to(read(plain), Rcode::NoError), reply_to(query, 0x8090));
}

TEST(DnsMessage, AnAnswerFitsWhatItsAskerTakes) {
  const auto addresses = addresses_v6(40);
  const std::string few = answer_to(read(query_of(7, "a", kAaaa)), Rcode::NoError, addresses);
  EXPECT_EQ(few.size(), 12u + 7 + 17 * 28);
  EXPECT_EQ(few.substr(2, 2), word(0x8380)) << "TC";
  EXPECT_EQ(few.substr(6, 2), word(17));
  const std::string all =
      answer_to(read(query_of(7, "a", kAaaa, opt_record(4096, 0, 0x8000))), Rcode::NoError, addresses);
  EXPECT_EQ(all.substr(2, 10), word(0x8180) + word(1) + word(40) + word(0) + word(1));
  EXPECT_EQ(all.substr(all.size() - 11), bytes("\0\0\x29\x10\0\0\0\x80\0\0\0"));
  const std::string tight = answer_to(read(query_of(7, "a", kAaaa, opt_record(523))), Rcode::NoError, addresses);
  EXPECT_EQ(tight.size(), few.size() + 11) << "an 18th would leave no room for OPT";
  const std::string least = answer_to(read(query_of(7, "a", kAaaa, opt_record(0))), Rcode::NoError, addresses);
  EXPECT_EQ(least.substr(6, 2), word(17)) << "RFC 6891 6.2.3: no less than 512";
  EXPECT_LE(answer_to(read(query_of(7, "a", kAaaa, opt_record(65535))), Rcode::NoError, addresses_v6(999)).size(),
            4096u);
}

TEST(DnsMessage, AnAnswerIsToldByIdAndQuestion) {
  const std::string asked = query_of(7, "api.example", kA);
  const Query query = read(asked);
  EXPECT_TRUE(is_answer_to(query, reply_to(asked, 0x8180)));
  EXPECT_TRUE(is_answer_to(query, reply_to(asked, 0x8380))) << "truncated";
  EXPECT_TRUE(is_answer_to(query, reply_to(query_of(7, "API.example", kA), 0x8180)));
  EXPECT_FALSE(is_answer_to(query, reply_to(query_of(8, "api.example", kA), 0x8180)));
  EXPECT_FALSE(is_answer_to(query, reply_to(query_of(7, "bpi.example", kA), 0x8180)));
  EXPECT_FALSE(is_answer_to(query, reply_to(query_of(7, "api.example", kAaaa), 0x8180)));
  EXPECT_FALSE(is_answer_to(read(query_of(7, "a", 'a')), reply_to(query_of(7, "a", 'A'), 0x8180)));
  EXPECT_FALSE(is_answer_to(query, asked));
  EXPECT_FALSE(is_answer_to(query, reply_to(asked, 0xA180))) << "NOTIFY";
  EXPECT_TRUE(is_answer_to(query, error(7, 0x8105)));
  EXPECT_FALSE(is_answer_to(query, error(7, 0x8180))) << "neither a question nor an error";
  const std::string whole = reply_to(asked, 0x8182);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(is_answer_to(query, whole.substr(0, size))) << size;
  EXPECT_EQ(rcode_of(whole), Rcode::ServFail);
}

TEST(DnsMessage, FailuresAndTruncationAreTold) {
  const std::string asked = query_of(7, "a", kA);
  EXPECT_TRUE(is_failure(reply_to(asked, 0x8182)));
  EXPECT_TRUE(is_failure(reply_to(asked, 0x8185)));
  EXPECT_FALSE(is_failure(reply_to(asked, 0x8183))) << "there is no such name: another resolver says so too";
  EXPECT_TRUE(is_truncated(reply_to(asked, 0x8380)));
  EXPECT_FALSE(is_truncated(reply_to(asked, 0x8180)));
  EXPECT_FALSE(is_truncated(""));
}

class DnsAgain : public testing::Test {
 protected:
  // What was recorded, of a query that had an OPT record if `end` has one.
  static std::string recorded(const std::string& end = {}, unsigned additional = 0) {
    return reply_to(query_of(9, "API.example", kA), 0x8580, 1, kAddress + end).replace(10, 2, word(additional));
  }
  static std::optional<std::string> again(const std::string& query, const std::string& reply) {
    return answer_again(read(query), reply);
  }
  // Our answer to plain_, or to edns_.
  static std::string with_opt(std::string reply) { return reply.replace(10, 2, word(1)) + kOurOpt; }
  static inline const std::string kAddress = record(kA, bytes("\xc0\0\2\1"));
  static inline const std::string kOurOpt = bytes("\0\0\x29\x10\0\0\0\0\0\0\0");
  const std::string plain_ = query_of(7, "api.Example", kA);
  const std::string edns_ = query_of(7, "api.Example", kA, opt_record(1232));
};

TEST_F(DnsAgain, AnAnswerHasTheIdAndSpellingOfItsQuery) {
  EXPECT_EQ(again(plain_, recorded()), reply_to(plain_, 0x8580, 1, kAddress));
  EXPECT_EQ(again(plain_, recorded("behind")), reply_to(plain_, 0x8580, 1, kAddress));
  const std::string no_recursion = std::string(plain_).replace(2, 2, word(0x0010));
  EXPECT_EQ(again(no_recursion, recorded()), reply_to(plain_, 0x8490, 1, kAddress)) << "RD and CD are the asker's";
  const std::string none = reply_to(query_of(9, "API.example", kA), 0x8183);
  EXPECT_EQ(again(plain_, none), reply_to(plain_, 0x8183));
}

TEST_F(DnsAgain, TheOptRecordIsOursAndOfWhoHasOne) {
  const std::string opt = opt_record(512, 0, 0x8000);
  EXPECT_EQ(again(plain_, recorded(opt, 1)), reply_to(plain_, 0x8580, 1, kAddress));
  EXPECT_EQ(again(edns_, recorded(opt, 1)), with_opt(reply_to(plain_, 0x8580, 1, kAddress)));
  EXPECT_EQ(again(edns_, recorded()), with_opt(reply_to(plain_, 0x8580, 1, kAddress)));
}

TEST_F(DnsAgain, OtherRecordsStayButForThoseBehindTheOptRecord) {
  const std::string glue = record(kAaaa, std::string(16, 'g'));
  EXPECT_EQ(again(plain_, recorded(glue + opt_record(512), 2)),
            reply_to(plain_, 0x8580, 1, kAddress + glue).replace(10, 2, word(1)));
  EXPECT_EQ(again(plain_, recorded(opt_record(512) + glue, 2)), reply_to(plain_, 0x8580, 1, kAddress));
  const auto as_authority = [](std::string reply) { return reply.replace(8, 2, word(1)) + opt_record(512); };
  EXPECT_EQ(again(plain_, as_authority(reply_to(query_of(9, "API.example", kA), 0x8180))),
            as_authority(reply_to(plain_, 0x8180)));
}

TEST_F(DnsAgain, WhatIsTooLongIsTruncated) {
  const std::string asked = query_of(7, "api.example", 16);
  const auto of_size = [&asked](size_t size) {
    return reply_to(asked, 0x8180, 1, record(16, std::string(size - asked.size() - 12, 't')));
  };
  const auto with = [](unsigned payload) { return query_of(7, "api.example", 16, opt_record(payload)); };
  EXPECT_EQ(again(asked, of_size(512))->size(), 512u);
  EXPECT_EQ(again(asked, of_size(513)), reply_to(asked, 0x8380));
  EXPECT_EQ(again(with(1232), of_size(1221))->size(), 1232u);
  EXPECT_EQ(again(with(1232), of_size(1222)), with_opt(reply_to(asked, 0x8380)));
  EXPECT_EQ(again(with(65535), of_size(60000))->size(), 60011u);
  EXPECT_EQ(again(with(0), of_size(501))->size(), 512u);
}

TEST_F(DnsAgain, WhatIsNoAnswerToItIsNotGiven) {
  EXPECT_FALSE(again(query_of(7, "bpi.example", kA), recorded()));
  EXPECT_FALSE(again(query_of(7, "api.example", kAaaa), recorded()));
  EXPECT_FALSE(again(plain_, query_of(9, "api.example", kA))) << "a query";
  EXPECT_FALSE(again(plain_, {}));
  const std::string whole = recorded(record(kAaaa, std::string(16, 'g')), 1);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(again(plain_, whole.substr(0, size))) << size;
  EXPECT_FALSE(again(edns_, recorded(bytes("\0\0\x29\2\0\1\0\0\0\0\0"), 1))) << "BADVERS";
  EXPECT_EQ(again(plain_, error(9, 0x8105)), reply_to(plain_, 0x8185)) << "without a question";
  EXPECT_FALSE(again(plain_, error(9, 0x8180)));
}

}  // namespace
}  // namespace tapdeck::names

#include "daemon/app/name_answer_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/app/dns_reply_rig.h"

namespace tapdeck::app {
namespace {

using ::testing::HasSubstr;

constexpr uint16_t kOfNobody = 65280;
const std::string kAlias("\1x\xC0\x10", 4);  // x.test

TEST(NameView, HasTheRecordsAndTheStatusOfTheMessage) {
  const Json view =
      name_view(dns::answered(dns::kA, dns::reply(dns::kA, 0, {{dns::kA, dns::kOne}, {dns::kA, dns::kTwo}})));
  EXPECT_EQ(dump(view), R"({"name":"www.test","type":"A","answer":["A 192.0.2.1","A 192.0.2.2"],"status":"NOERROR"})");
  EXPECT_EQ(answer_text(view), "192.0.2.1, 192.0.2.2");
  EXPECT_EQ(name_view({.name = "", .type = dns::kA, .end = "silent", .reply = ""})["name"], ".");
  EXPECT_EQ(name_view(dns::answered(kOfNobody, dns::reply(kOfNobody, 0)))["type"], "TYPE65280");
}

TEST(NameView, SaysWhoTheAddressesAreOf) {
  const std::string text =
      answer_text(name_view(dns::answered(dns::kA, dns::reply(dns::kA, 0, {{5, kAlias}, {dns::kA, dns::kOne}}))));
  EXPECT_THAT(text, HasSubstr("CNAME x.test"));
  EXPECT_THAT(text, HasSubstr("192.0.2.1"));
}

TEST(NameView, SaysWhereThereIsMore) {
  std::string reply = dns::reply(dns::kA, 0);
  reply[2] = static_cast<char>(reply[2] | 2);  // TC
  const Json view = name_view(dns::answered(dns::kA, reply));
  EXPECT_EQ(view["truncated"], true);
  EXPECT_THAT(answer_text(view), HasSubstr("truncated"));
}

TEST(NameView, SaysInWordsWhyThereAreNoRecords) {
  const struct {
    store::NameAnswer answer;
    const char *status, *text;
  } cases[] = {
      {dns::answered(dns::kAaaa, dns::reply(dns::kAaaa, 0)), "NOERROR", "no record of this type"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 1)), "FORMERR", "error (FORMERR)"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 2)), "SERVFAIL", "server failure (SERVFAIL)"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 3)), "NXDOMAIN", "no such name (NXDOMAIN)"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 3, {{5, kAlias}})), "NXDOMAIN",
       "CNAME x.test, no such name (NXDOMAIN)"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 5)), "REFUSED", "refused (REFUSED)"},
      {dns::answered(dns::kA, dns::reply(dns::kA, 11)), "RCODE11", "error (RCODE11)"},
      {dns::answered(dns::kA, "no message"), "unreadable", "no DNS message"},
      {{.name = "www.test", .type = dns::kA, .end = "silent", .reply = ""}, "silent", "no answer"},
      {{.name = "www.test", .type = dns::kA, .end = "unreachable", .reply = ""}, "unreachable", "resolver unreachable"},
  };
  for (const auto& c : cases) {
    const Json view = name_view(c.answer);
    EXPECT_EQ(view["status"], c.status);
    EXPECT_EQ(answer_text(view), c.text);
  }
}

}  // namespace
}  // namespace tapdeck::app

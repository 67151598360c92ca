#include "daemon/app/name_keeper.h"

#include <gtest/gtest.h>

#include "daemon/base/test_directory.h"
#include "daemon/names/names_rig.h"
#include "store/name_answers.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using names::LookupEnd;

// One A record behind a pointer to the name of the question.
std::string a_record(unsigned ttl, char last_byte) {
  return names::bytes("\xc0\x0c\0\1\0\1\0\0") + names::word(ttl) + names::bytes("\0\4\xc0\0\2") + last_byte;
}

std::string answered_with(const std::string& records, unsigned count, unsigned flags = 0x8180) {
  return names::reply_to(names::query_of(7, "a.example", names::kA), flags, count, records);
}

class NameKeeperTest : public testing::Test {
 protected:
  void keep(LookupEnd end, const std::string& reply = {}) {
    keeper_.keep(take_, {"a.example", names::kA, end, reply});
    writer_->flush();
  }
  [[nodiscard]] store::NameAnswer kept() const {
    const auto found = store::name_answer(*store_, "s", "a.example", names::kA);
    return found && *found ? **found : store::NameAnswer{};
  }

  TestDirectory directory_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_.path());
  store::Take take_ = *store_->open_take("s", store::Append::No);
  std::unique_ptr<store::StoreWriter> writer_ = *store::StoreWriter::start(*store_);
  NameKeeper keeper_{writer_.get()};
};

TEST_F(NameKeeperTest, WhatSaysTheSameIsWrittenOnce) {
  const std::string first = answered_with(a_record(60, 1) + a_record(60, 2), 2);
  keep(LookupEnd::Answered, first);
  EXPECT_EQ(kept().end, "answered");
  keep(LookupEnd::Answered, answered_with(a_record(59, 2) + a_record(59, 1), 2));
  EXPECT_EQ(kept().reply, first) << "another order, other TTLs";
  const std::string other = answered_with(a_record(60, 3), 1);
  keep(LookupEnd::Answered, other);
  EXPECT_EQ(kept().reply, other);
  EXPECT_EQ(writer_->stats().notes, 2U);
}

TEST_F(NameKeeperTest, WhatIsShownByItsSizeIsComparedByItsBytes) {
  const auto https = [](char last_byte) {
    return answered_with(names::bytes("\xc0\x0c\0\x41\0\1\0\0\0\x3c\0\3\0\1") + last_byte, 1);
  };
  keep(LookupEnd::Answered, https(1));
  keep(LookupEnd::Answered, https(2));
  EXPECT_EQ(kept().reply, https(2));
}

TEST_F(NameKeeperTest, AFailureDoesNotReplaceAnAnswerOfItsTake) {
  keep(LookupEnd::Silent);
  EXPECT_EQ(kept().end, "silent");
  const std::string absent = answered_with({}, 0, 0x8183);
  keep(LookupEnd::Answered, absent);
  for (const unsigned failure : {0x8182U, 0x8185U}) keep(LookupEnd::Answered, answered_with({}, 0, failure));
  keep(LookupEnd::Unreachable);
  EXPECT_EQ(kept().reply, absent) << "that a name does not exist is an answer";
  take_ = *store_->open_take("s", store::Append::No);
  keep(LookupEnd::Unreachable);
  EXPECT_EQ(kept().end, "unreachable") << "the newest take counts";
}

TEST_F(NameKeeperTest, WithoutATakeOrAWriterNothingIsKept) {
  take_.number = 0;
  keep(LookupEnd::Silent);
  EXPECT_EQ(kept().end, "");
  take_.number = 1;
  NameKeeper(nullptr).keep(take_, {"a.example", names::kA, LookupEnd::Silent, {}});
  EXPECT_EQ(kept().end, "");
}

}  // namespace
}  // namespace tapdeck::app

#include "daemon/app/name_keeper.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/base/eventually.h"
#include "daemon/base/log.h"
#include "daemon/base/test_directory.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/dns_message.h"
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
  [[nodiscard]] store::NameAnswer kept(const std::string& name = "a.example") const {
    const auto found = store::name_answer(*store_, "s", name, names::kA);
    return found && *found ? **found : store::NameAnswer{};
  }
  void begin_take() { take_ = *store_->open_take("s", store::Append::No); }

  TestDirectory directory_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_ / "store");
  store::Take take_ = *store_->open_take("s", store::Append::No);
  std::unique_ptr<store::StoreWriter> writer_ = *store::StoreWriter::start(*store_);
  NameKeeper keeper_{store_.get(), writer_.get()};
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

TEST_F(NameKeeperTest, AFailureDoesNotReplaceAnAnswerWhateverTheTake) {
  keep(LookupEnd::Silent);
  EXPECT_EQ(kept().end, "silent");
  const std::string absent = answered_with({}, 0, 0x8183);
  keep(LookupEnd::Answered, absent);
  for (const unsigned failure : {0x8182U, 0x8185U}) keep(LookupEnd::Answered, answered_with({}, 0, failure));
  keep(LookupEnd::Unreachable);
  EXPECT_EQ(kept().reply, absent) << "that a name does not exist is an answer";
  begin_take();
  keep(LookupEnd::Unreachable);
  EXPECT_EQ(kept().reply, absent) << "the newest that is complete counts";
  NameKeeper of_the_next_start(store_.get(), writer_.get());
  of_the_next_start.keep(take_, {"a.example", names::kA, LookupEnd::Silent, {}});
  writer_->flush();
  EXPECT_EQ(kept().reply, absent);
}

TEST_F(NameKeeperTest, ATruncatedAnswerIsMoreThanAFailureAndLessThanAWholeOne) {
  const std::string cut = answered_with({}, 0, 0x8380);
  keep(LookupEnd::Silent);
  keep(LookupEnd::Answered, cut);
  EXPECT_EQ(kept().reply, cut);
  keep(LookupEnd::Answered, answered_with({}, 0, 0x8182));
  EXPECT_EQ(kept().reply, cut);
  keep(LookupEnd::Answered, answered_with(a_record(60, 1), 1, 0x8380));
  EXPECT_EQ(kept().reply, cut) << "says no more";
  const std::string whole = answered_with(a_record(60, 1), 1);
  keep(LookupEnd::Answered, whole);
  keep(LookupEnd::Answered, cut);
  EXPECT_EQ(kept().reply, whole);
}

TEST_F(NameKeeperTest, WhatIsOnTapeOfAnOlderTakeIsReplacedByWhatIsBetter) {
  const std::string cut = answered_with({}, 0, 0x8380);
  const std::string whole = answered_with(a_record(60, 1), 1);
  keep(LookupEnd::Silent);
  EXPECT_EQ(kept().end, "silent") << "nothing was";
  begin_take();
  keep(LookupEnd::Unreachable);
  EXPECT_EQ(kept().end, "silent");
  keep(LookupEnd::Answered, cut);
  EXPECT_EQ(kept().reply, cut);
  keep(LookupEnd::Answered, whole);
  begin_take();
  keep(LookupEnd::Silent);
  keep(LookupEnd::Answered, cut);
  EXPECT_EQ(kept().reply, whole);
}

TEST_F(NameKeeperTest, OfATapeThatIsNotSeenNothingIsReplacedByLess) {
  NameKeeper keeper(nullptr, writer_.get());
  keeper.keep(take_, {"a.example", names::kA, LookupEnd::Silent, {}});
  keeper.keep(take_, {"b.example", names::kA, LookupEnd::Answered, answered_with(a_record(60, 1), 1)});
  writer_->flush();
  EXPECT_EQ(kept("a.example").end, "");
  EXPECT_EQ(kept("b.example").end, "answered");
}

TEST_F(NameKeeperTest, WhatTheStoreRefusesIsCountedSaidOnceAndTriedAgain) {
  const auto small = *store::StoreWriter::start(*store_, {.queue_bytes = 1});
  NameKeeper keeper(store_.get(), small.get());
  {
    const UniqueFd file(::open((directory_ / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    log::Options options;
    options.fd = file.get();
    log::configure(options);
    for (int i = 0; i < 2; ++i) keeper.keep(take_, {"a.example", names::kA, LookupEnd::Silent, {}});
    log::configure({});
  }
  EXPECT_EQ(keeper.lost(), 2U);
  const std::string said = directory_.read("log");
  EXPECT_NE(said.find("names.not_kept"), std::string::npos);
  EXPECT_EQ(said.find("names.not_kept"), said.rfind("names.not_kept")) << said;
}

TEST_F(NameKeeperTest, WhatCouldNotBeWrittenIsWrittenWhenItIsAskedForAgain) {
  std::filesystem::rename(directory_ / "store", directory_ / "moved");
  std::string last;
  char byte = 0;
  EXPECT_TRUE(eventually([&] {
    last = answered_with(a_record(60, ++byte), 1);
    keep(LookupEnd::Answered, last);
    return keeper_.lost() > 0;
  }));
  EXPECT_NE(kept().reply, last);
  std::filesystem::rename(directory_ / "moved", directory_ / "store");
  keep(LookupEnd::Answered, last);
  EXPECT_EQ(kept().reply, last);
  EXPECT_EQ(keeper_.lost(), 1U);
}

TEST_F(NameKeeperTest, SoManyNamesATakeAreKept) {
  NameKeeper keeper(store_.get(), writer_.get(), {.names = 1});
  const auto keep_two = [&] {
    for (const char* name : {"a.example", "b.example"}) {
      keeper.keep(take_, {name, names::kA, LookupEnd::Silent, {}});
    }
    writer_->flush();
  };
  keep_two();
  EXPECT_EQ(kept("a.example").end, "silent");
  EXPECT_EQ(kept("b.example").end, "");
  EXPECT_EQ(keeper.lost(), 1U);
  begin_take();
  keeper.keep(take_, {"b.example", names::kA, LookupEnd::Silent, {}});
  writer_->flush();
  EXPECT_EQ(kept("b.example").end, "silent") << "not for the life of the process";
}

TEST_F(NameKeeperTest, TakesThatAreLongGoneAreForgotten) {
  const auto written_in_turns = [&](NameBounds bounds) {
    NameKeeper keeper(store_.get(), writer_.get(), bounds);
    const uint64_t before = writer_->stats().notes;
    const store::Take first = take_;
    for (const int next : {1, 2}) {
      const store::Take second{first.session, first.session_number, first.number + static_cast<uint64_t>(next)};
      keeper.keep(second, {"a.example", names::kA, LookupEnd::Answered, answered_with(a_record(60, 1), 1)});
      keeper.keep(first, {"a.example", names::kA, LookupEnd::Answered, answered_with(a_record(60, 1), 1)});
    }
    writer_->flush();
    return writer_->stats().notes - before;
  };
  EXPECT_EQ(written_in_turns({}), 3U) << "targets of one session have takes of their own";
  EXPECT_EQ(written_in_turns({.takes = 1}), 4U);
  EXPECT_EQ(written_in_turns({.noted = 1}), 4U);
}

TEST_F(NameKeeperTest, WithoutATakeOrAWriterNothingIsKept) {
  take_.number = 0;
  keep(LookupEnd::Silent);
  EXPECT_EQ(kept().end, "");
  take_.number = 1;
  NameKeeper(store_.get(), nullptr).keep(take_, {"a.example", names::kA, LookupEnd::Silent, {}});
  EXPECT_EQ(kept().end, "");
}

}  // namespace
}  // namespace tapdeck::app

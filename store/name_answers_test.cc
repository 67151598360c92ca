#include "store/name_answers.h"

#include <algorithm>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

constexpr uint16_t kA = 1, kMx = 15, kAaaa = 28;

class NameAnswers : public testing::Test {
 protected:
  static void note(ExchangeStore& store, const Take& take, const NameAnswer& answer) {
    std::vector<PendingWrite> writes;
    writes.push_back(name_write(take, answer));
    const auto written = store.write(writes, Durability::Wal);
    EXPECT_TRUE(written) << written.error().message();
  }
  void note(const NameAnswer& answer) { note(*store_, recorder_.take(), answer); }
  // How it ended, or the reply.
  static std::string said(const ExchangeStore& store, const std::string& session, const std::string& name,
                          uint16_t type) {
    const auto answer = name_answer(store, session, name, type);
    if (!answer) return answer.error().message();
    if (!*answer) return "never asked";
    return (*answer)->end == "answered" ? (*answer)->reply : "it was " + (*answer)->end;
  }
  [[nodiscard]] std::string said(const std::string& name, uint16_t type) const {
    return said(*store_, "s", name, type);
  }
  static std::vector<std::string> listed(const ExchangeStore& store, const std::string& session,
                                         const std::string& after = {}, size_t limit = 100) {
    const auto answers = name_answers(store, session, limit, after);
    EXPECT_TRUE(answers) << answers.error().message();
    std::vector<std::string> out;
    if (answers) std::ranges::transform(*answers, std::back_inserter(out), cursor_of);
    return out;
  }
  void open_again() {
    store_.reset();
    store_ = open_store(dir_.path());
  }
  using Listed = std::vector<std::string>;

  TestDirectory dir_;
  std::unique_ptr<ExchangeStore> store_ = open_store(dir_.path());
  Recorder recorder_{*store_, "s"};
};

TEST_F(NameAnswers, AreFoundByNameAndTypeInAnyCase) {
  EXPECT_EQ(said("www.test", kA), "never asked");
  note({"WWW.test", kA, "answered", "four"});
  note({"www.test", kAaaa, "answered", "six"});
  note({"gone.test", kA, "silent", ""});
  note({"gone.test", kMx, "unreachable", ""});
  open_again();
  EXPECT_EQ(*name_answer(*store_, "s", "www.TEST", kA), (NameAnswer{"www.test", kA, "answered", "four"}));
  EXPECT_EQ(said("www.test", kAaaa), "six");
  EXPECT_EQ(said("www.test", kMx), "never asked");
  EXPECT_EQ(said("ww.test", kA), "never asked");
  EXPECT_EQ(said("gone.test", kA), "it was silent");
  EXPECT_EQ(said("gone.test", kMx), "it was unreachable");
  EXPECT_EQ(name_answer(*store_, "x", "www.test", kA).error().code, Code::NotFound);
}

TEST_F(NameAnswers, ALaterOneReplacesAnEarlier) {
  for (const char* next : {"one", "two", "one", "one"}) {
    note({"www.test", kA, "answered", next});
    EXPECT_EQ(said("www.test", kA), next);
  }
  note({"www.test", kA, "silent", ""});
  EXPECT_EQ(*name_answer(*store_, "s", "www.test", kA), (NameAnswer{"www.test", kA, "silent", ""}));
  EXPECT_EQ(listed(*store_, "s"), Listed{"www.test,1"});
}

TEST_F(NameAnswers, KeepEveryByteOfTheLongestReply) {
  std::string longest(kMostReplyBytes, '\0');
  for (size_t i = 0; i < longest.size(); ++i) longest[i] = static_cast<char>(i);
  note({"www.test", kA, "answered", longest});
  note({"none.test", kA, "answered", ""});
  open_again();
  EXPECT_TRUE(said("www.test", kA) == longest);
  EXPECT_EQ(said("none.test", kA), "");
}

TEST_F(NameAnswers, WhatIsNoneDoesNothing) {
  const Take ghost = *store_->open_take("ghost", Append::No);
  const std::string longest(kMostNameBytes, 'n');
  for (const NameAnswer& none :
       {NameAnswer{longest + "n", kA, "answered", "r"}, NameAnswer{std::string("a\0b", 3), kA, "answered", "r"},
        NameAnswer{"a b", kA, "answered", "r"}, NameAnswer{"caf\xc3\xa9", kA, "answered", "r"},
        NameAnswer{"www.test", kA, "answered", std::string(kMostReplyBytes + 1, 'r')},
        NameAnswer{"www.test", kA, "silent", "r"}, NameAnswer{"www.test", kA, "lost", ""}}) {
    note(*store_, ghost, none);
    EXPECT_EQ(listed(*store_, "ghost"), Listed{});
  }
  note({longest, kA, "answered", "r"});
  EXPECT_EQ(said(longest, kA), "r");
  open_again();
  EXPECT_FALSE(store_->session("ghost")) << "nothing was written into it";
}

TEST_F(NameAnswers, AreListedByNameAndThenTypeInPages) {
  for (const auto& [name, type] : std::vector<std::pair<std::string, uint16_t>>{{"b.test", kAaaa},
                                                                                {"b.test", 255},
                                                                                {"b.test", kA},
                                                                                {"a.test", 65535},
                                                                                {"a", kMx},
                                                                                {"a-b", kA},
                                                                                {"a,b", 3},
                                                                                {"", 2},
                                                                                {"\\000.test", 16}})
    note({name, type, "answered", name});
  const Listed all = {",2",           "\\000.test,16", "a,15",      "a,b,3",     "a-b,1",
                      "a.test,65535", "b.test,1",      "b.test,28", "b.test,255"};
  EXPECT_EQ(listed(*store_, "s"), all);
  for (size_t limit = 1; limit < 4; ++limit) {
    Listed seen;
    for (Listed page = listed(*store_, "s", "", limit); !page.empty() && seen.size() < all.size();
         page = listed(*store_, "s", page.back(), limit))
      seen.insert(seen.end(), page.begin(), page.end());
    EXPECT_EQ(seen, all) << limit;
  }
  EXPECT_EQ(listed(*store_, "s", "b.test,2"), (Listed{"b.test,28", "b.test,255"})) << "that one may be gone";
  EXPECT_EQ(listed(*store_, "s", "b.test,255"), Listed{});
  for (const char* none : {"b.test", "b.test,", "b.test,x", "b.test,65536", "b test,1", "b.test,-1"})
    EXPECT_EQ(name_answers(*store_, "s", 1, none).error().code, Code::InvalidArgument) << none;
  EXPECT_EQ(name_answers(*store_, "x", 1, "").error().code, Code::NotFound);
}

TEST_F(NameAnswers, AreNoFactsOfAnOriginOfThatNameAndPort) {
  note({"ns.test", kA, "answered", "r"});
  EXPECT_FALSE(*store_->origin_facts("s", "ns.test", 53));
  EXPECT_FALSE(*store_->origin_facts("s", "ns.test", 53, "h2"));
  std::vector<PendingWrite> writes;
  writes.push_back(origin_write(recorder_.take(), "ns.test", 53, {"dot", "TLSv1.3", "expired", "ab"}, {"h2", "h2"}));
  writes.push_back(origin_write(recorder_.take(), "ns.test", 53, {}, {"\1greeting,http", ""}));
  writes.push_back(origin_write(recorder_.take(), "ns.test", 53, {}, {"\1name,00015", ""}));
  writes.push_back(origin_write(recorder_.take(), "odd.test", 53, {"", "", "answered", ""}, {"\1name,1", "r"}));
  ASSERT_TRUE(store_->write(writes, Durability::Wal));
  note({"ns.test", kAaaa, "answered", "r"});
  EXPECT_EQ((*store_->origin_facts("s", "ns.test", 53))->verify_failure, "expired");
  EXPECT_EQ((*store_->origin_facts("s", "ns.test", 53, "h2"))->alpn, "h2");
  EXPECT_EQ((*store_->origin_facts("s", "ns.test", 53, "http/1.1"))->alpn, "dot");
  EXPECT_EQ(listed(*store_, "s"), (Listed{"ns.test,1", "ns.test,28"})) << "and the origin's rows are no names";
  EXPECT_EQ(said("ns.test", kMx), "never asked");
}

TEST_F(NameAnswers, AreNoRecordings) {
  ignore(recorder_.record("/", "x"), "one");
  const auto bytes = store_->stored_bytes();
  note({"www.test", kA, "answered", std::string(1000, 'r')});
  EXPECT_EQ(store_->stored_recordings(), 1U);
  EXPECT_EQ(store_->stored_bytes(), bytes);
  EXPECT_EQ(store_->session("s")->recordings, 1U);
  EXPECT_EQ(store_->list_recordings({})->items.size(), 1U);
}

TEST_F(NameAnswers, AreCountedAsNotesByTheWriter) {
  auto writer = *StoreWriter::start(*store_);
  std::vector<PendingWrite> writes;
  writes.push_back(name_write(recorder_.take(), {"www.test", kA, "answered", std::string(1000, 'r')}));
  EXPECT_GE(writes.back().memory(), sizeof(PendingWrite) + 1000) << "it waits in a queue that is bounded by bytes";
  ASSERT_TRUE(writer->submit(writes, nullptr, 1));
  writer->flush();
  EXPECT_EQ(writer->stats().recordings, 0U);
  EXPECT_EQ(writer->stats().notes, 1U);
  EXPECT_EQ(said("www.test", kA), std::string(1000, 'r'));
}

TEST_F(NameAnswers, TravelWithTheirSessionThoughItHasNothingElse) {
  const TestDirectory to;
  const std::string file = to.path() + "/s.tapdeck", bytes("\0\1\xff\0", 4);
  note({"www.test", kA, "answered", bytes});
  note({"gone.test", kA, "silent", ""});
  ASSERT_TRUE(store_->export_session("s", file));
  auto other = open_store(to.path() + "/store");
  const auto imported = other->import_session(file, "copy");
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ(imported->recordings, 0U);
  ASSERT_TRUE(other->session("copy"));
  EXPECT_EQ(other->session("copy")->recordings, 0U);
  EXPECT_EQ(listed(*other, "copy"), (Listed{"gone.test,1", "www.test,1"}));
  EXPECT_EQ(said(*other, "copy", "www.test", kA), bytes);
  EXPECT_EQ(said(*other, "copy", "gone.test", kA), "it was silent");
}

TEST_F(NameAnswers, OfADeletedSessionAreGone) {
  note({"www.test", kA, "answered", "r"});
  ASSERT_TRUE(store_->delete_session("s"));
  note({"late.test", kA, "answered", "r"});
  open_again();
  const Recorder again(*store_, "s");
  ASSERT_EQ(again.take().session_number, recorder_.take().session_number) << "else their rows could be there unseen";
  EXPECT_EQ(listed(*store_, "s"), Listed{});
  EXPECT_EQ(said("www.test", kA), "never asked");
  EXPECT_EQ(said("late.test", kA), "never asked");
}

TEST_F(NameAnswers, RecordedBesideArriveWithTheMergeThoughNothingElseDid) {
  note({"www.test", kA, "answered", "old"});
  note({"kept.test", kA, "answered", "kept"});
  auto beside = *ExchangeStore::open_pending(store_->options());
  const std::string path = beside->options().path;
  note(*beside, *beside->open_take("s", Append::Yes), {"www.test", kA, "answered", "new"});
  note(*beside, *beside->open_take("q", Append::No), {"q.test", kA, "unreachable", ""});
  beside.reset();
  ASSERT_EQ(store_->merge_pending(path).value_or(99), 0U);
  EXPECT_EQ(said("www.test", kA), "new");
  EXPECT_EQ(said("kept.test", kA), "kept");
  open_again();
  ASSERT_TRUE(store_->session("q"));
  EXPECT_EQ(store_->session("q")->recordings, 0U);
  EXPECT_EQ(said(*store_, "q", "q.test", kA), "it was unreachable");
}

TEST_F(NameAnswers, MoreThanIsMergedAtOnceArriveAll) {
  auto beside = *ExchangeStore::open_pending(store_->options());
  const std::string path = beside->options().path;
  const Take take = *beside->open_take("s", Append::No);
  for (int i = 0; i < 60; ++i) {
    note(*beside, take, {"n" + std::to_string(i) + ".test", kA, "answered", std::string(50'000, 'r')});
  }
  beside.reset();
  ASSERT_EQ(store_->merge_pending(path).value_or(99), 0U);
  EXPECT_EQ(listed(*store_, "s").size(), 60U);
}

TEST_F(NameAnswers, OfTheStoreBesideWhichOneWasOpenedAnswerThereToo) {
  note({"www.test", kA, "answered", "before"});
  note({"both.test", kA, "answered", "before"});
  const auto beside = *ExchangeStore::open_pending(store_->options(), ExchangeStore::Answers::Too);
  EXPECT_EQ(said(*beside, "s", "www.test", kA), "before") << "the session is not in it yet";
  note(*beside, *beside->open_take("s", Append::Yes), {"both.test", kA, "answered", "now"});
  EXPECT_EQ(said(*beside, "s", "both.test", kA), "now");
  EXPECT_EQ(said(*beside, "s", "www.test", kA), "before");
  EXPECT_EQ(said(*beside, "s", "other.test", kA), "never asked");
  note(*beside, *beside->open_take("new", Append::No), {"www.test", kA, "answered", "now"});
  EXPECT_EQ(said(*beside, "new", "www.test", kA), "now");
  EXPECT_EQ(said(*beside, "new", "both.test", kA), "never asked") << "a session that is new is no error there";
  EXPECT_EQ(name_answer(*beside, "x", "www.test", kA).error().code, Code::NotFound);
  EXPECT_EQ(listed(*beside, "s"), Listed{"both.test,1"}) << "its own";
}

}  // namespace
}  // namespace tapdeck::store

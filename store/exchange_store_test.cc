#include "store/exchange_store.h"

#include <gmock/gmock.h>
#include <rocksdb/db.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ExchangeStore, GivesARecordingAndItsBodiesBackAfterReopening) {
  const TestDirectory dir;
  const std::string small = "small", large(700'000, 'L');
  uint64_t a = 0, b = 0;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    a = recorder.record("/a", small, "question");
    b = recorder.record("/b", large);
  }
  auto store = open_store(dir.path());
  const auto first = store->get("s", a);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(first->url(), "https://api.example.com/a");
  EXPECT_EQ(*store->read_body(first->request_body), "question");
  EXPECT_EQ(*store->read_body(first->response_body), small);
  const auto second = store->get(b);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->session, "s");
  EXPECT_EQ(second->response_body.segments.size(), 3u);
  EXPECT_TRUE(*store->read_body(second->response_body) == large);
  EXPECT_EQ(store->read_body(second->response_body, 1000).error().code, Code::TooLarge);
  EXPECT_GT(store->allocate_id(), b);
}

TEST(ExchangeStore, LookupAnswersTheNewestTakeInRequestOrder) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder old(*store, "s");
  const auto only_old = old.record("/old", "1");
  ignore(old.record("/x", "1"), "superseded by the next take");
  Recorder fresh(*store, "s");
  const auto one = fresh.record("/x", "2");
  const auto two = fresh.record("/x", "3");
  EXPECT_THAT(*store->lookup("s", fresh.key("/x")), ElementsAre(one, two));
  EXPECT_THAT(*store->lookup("s", fresh.key("/old")), ElementsAre(only_old));
  EXPECT_TRUE(store->lookup("s", fresh.key("/never"))->empty());
  Recorder appended(*store, "s", Append::Yes);
  EXPECT_EQ(appended.take().number, fresh.take().number);
  const auto three = appended.record("/x", "4");
  EXPECT_THAT(*store->lookup("s", fresh.key("/x")), ElementsAre(one, two, three));
}

TEST(ExchangeStore, RequestsThatFinishOutOfOrderStayInRequestOrder) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto first = recorder.whole("/x", "1");
  auto second = recorder.whole("/x", "2");
  ASSERT_TRUE(store->write(second, Durability::Wal));
  ASSERT_TRUE(store->write(first, Durability::Wal));
  EXPECT_THAT(*store->lookup("s", recorder.key("/x")), ElementsAre(first[0].id, second[0].id));
}

TEST(ExchangeStore, AnUnfinishedRecordingIsUsedOnlyWhenThereIsNoFinishedOne) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder old(*store, "s");
  const auto whole = old.record("/x", "1");
  Recorder fresh(*store, "s");
  const Outcome crash{Outcome::Kind::Incomplete, 0, "crash"};
  const auto part = fresh.record("/x", "part", {}, crash);
  const auto alone = fresh.record("/y", "part", {}, crash);
  EXPECT_THAT(*store->lookup("s", fresh.key("/x")), ElementsAre(whole));
  EXPECT_THAT(*store->lookup("s", fresh.key("/y")), ElementsAre(alone));
  const auto all = *store->lookup_all("s", fresh.key("/x"));
  EXPECT_THAT(all.ids, ElementsAre(whole, part));
  EXPECT_EQ(all.usable, 1U);
}

TEST(ExchangeStore, SessionsAreCreatedListedActivatedAndDeleted) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  ASSERT_TRUE(store->create_session("beta"));
  ASSERT_TRUE(store->create_session("alpha"));
  EXPECT_EQ(store->create_session("beta").error().code, Code::AlreadyExists);
  for (const char* bad : {"", ".x", "a/b", "a b", "a\n"})
    EXPECT_EQ(store->create_session(bad).error().code, Code::InvalidArgument) << bad;
  EXPECT_EQ(store->create_session(std::string(65, 'x')).error().code, Code::InvalidArgument);
  EXPECT_EQ(*store->active_session(), "default");
  auto generation = store->generation();
  ASSERT_TRUE(store->activate_session("alpha"));
  ASSERT_TRUE(store->activate_session("beta", "web"));
  EXPECT_GT(store->generation(), generation);
  const auto missing = store->activate_session("alpa");
  EXPECT_EQ(missing.error().code, Code::NotFound);
  EXPECT_THAT(missing.error().detail, HasSubstr("'alpha'"));
  store.reset();
  store = open_store(dir.path());
  EXPECT_EQ(*store->active_session(), "alpha");
  EXPECT_EQ(*store->active_session("web"), "beta");
  const auto list = *store->list_sessions();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "alpha");
  EXPECT_TRUE(list[0].active);
  ASSERT_TRUE(store->delete_session("beta"));
  EXPECT_EQ(store->session("beta").error().code, Code::NotFound);
}

TEST(ExchangeStore, DeletingASessionKeepsBodiesThatOthersShare) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  const std::string shared(5000, 's'), own(6000, 'o');
  Recorder keeps(*store, "keeps"), goes(*store, "goes");
  const auto kept = keeps.record("/a", shared);
  ignore(goes.record("/a", shared), "shares");
  const auto gone = goes.record("/b", own);
  const auto recording = *store->get(gone);
  const auto before = store->stored_bytes();
  auto late = goes.whole("/late", "written after the deletion");
  ASSERT_TRUE(store->delete_session("goes"));
  EXPECT_LT(store->stored_bytes() + own.size(), before);
  EXPECT_EQ(store->get(gone).error().code, Code::NotFound);
  EXPECT_EQ(store->read_body(recording.response_body).error().code, Code::Corrupt);
  EXPECT_TRUE(*store->read_body(store->get(kept)->response_body) == shared);
  EXPECT_TRUE(store->write(late, Durability::Wal));
  EXPECT_EQ(store->stored_recordings(), 1u);
  Recorder again(*store, "goes");
  EXPECT_EQ(store->session("goes")->recordings, 0u);
  EXPECT_TRUE(*store->read_body(store->get(again.record("/b", own))->response_body) == own);
}

TEST(ExchangeStore, ListsInPagesAndFilters) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  for (int i = 0; i < 25; ++i) ignore(recorder.record("/item/" + std::to_string(i), "x"), "counted below");
  size_t seen = 0;
  std::string cursor;
  do {
    const auto page = *store->list_recordings({}, 10, cursor);
    seen += page.items.size();
    cursor = page.next;
  } while (!cursor.empty());
  EXPECT_EQ(seen, 25u);
  RecordingFilter filter;
  filter.path_contains = "/item/2";
  EXPECT_EQ(store->list_recordings(filter)->items.size(), 6u);
  filter = {};
  filter.text = "API.example.com/ITEM/7";
  EXPECT_EQ(store->list_recordings(filter)->items.size(), 1u);
  filter.text = "HOST: api.example.com";
  EXPECT_EQ(store->list_recordings(filter)->items.size(), 25u);
  filter = {};
  filter.status = 404;
  EXPECT_TRUE(store->list_recordings(filter)->items.empty());
  EXPECT_EQ(store->list_recordings({}, 10, "zebra").error().code, Code::InvalidArgument);
  const auto id = store->list_recordings({}, 1)->items.at(0).id;
  ASSERT_TRUE(store->delete_recording(id));
  EXPECT_EQ(store->delete_recording(id).error().code, Code::NotFound);
  EXPECT_TRUE(store->lookup("s", recorder.key("/item/0"))->empty());
}

TEST(ExchangeStore, NearestExplainsTheSmallestDifferenceFirst) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  ignore(recorder.record("/other", "x"), "far");
  const auto near = recorder.record("/users?page=1", "x");
  ignore(recorder.record("/users?page=1", "again"), "the same key counts once");
  ignore(recorder.record("/users/7", "x"), "further");
  const KeyParts asked{"https", "api.example.com", 443, "GET", "/users", "page=2", {}, 0, {}};
  const auto found = *store->nearest("s", asked);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].id, near + 1);
  EXPECT_THAT(found[0].differs, ElementsAre(Difference{"query", "page=1", "page=2"}));
}

TEST(ExchangeStore, RemembersWhatTheOriginSpokeAndHowItsCertificateFailed) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  auto builder = recorder.begin("/");
  builder.response(Recorder::ok());
  builder.provenance().upstream_alpn = "http/1.1";
  builder.provenance().upstream_verify_failure = "expired";
  builder.finish({});
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  ASSERT_TRUE(store->write(writes, Durability::Fsync));
  const auto facts = *store->origin_facts("s", "API.example.com", 443);
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->verify_failure, "expired");
  EXPECT_EQ(facts->alpn, "http/1.1");
  EXPECT_FALSE(*store->origin_facts("s", "api.example.com", 444));
}

TEST(ExchangeStore, ClientsThatOfferTheSameAreToldTheSame) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  const auto record = [&](std::string_view offered, std::string_view agreed) {
    auto builder = recorder.begin("/");
    builder.response(Recorder::ok());
    builder.provenance().upstream_alpn = agreed;
    builder.client_alpn({std::string(offered), std::string(agreed)});
    builder.finish({});
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store->write(writes, Durability::Fsync));
  };
  const auto told = [&](std::optional<std::string_view> offered) {
    return (*store->origin_facts("s", "api.example.com", 443, offered))->alpn;
  };
  record("h2,http/1.1", "h2");
  record("http/1.1", "http/1.1");
  record("", "");
  EXPECT_EQ(told("h2,http/1.1"), "h2");
  EXPECT_EQ(told("http/1.1"), "http/1.1");
  EXPECT_EQ(told(""), "");
  EXPECT_EQ(told("h2"), told({})) << "nobody has offered that: what the origin spoke last";
  record("h2,http/1.1", "http/1.1");
  EXPECT_EQ(told("h2,http/1.1"), "http/1.1") << "the origin has changed";
  auto failed = recorder.begin("/");
  failed.response(Recorder::ok());
  failed.client_alpn({"h2,http/1.1", "h2", false});
  failed.finish({});
  std::vector<PendingWrite> writes;
  failed.take_writes(writes);
  ASSERT_TRUE(store->write(writes, Durability::Fsync));
  EXPECT_EQ(told("h2,http/1.1"), "http/1.1") << "an origin that was not reached says nothing";
}

TEST(ExchangeStore, NoFileHoldsARedactedSecret) {
  const TestDirectory dir;
  {
    StoreOptions options;
    options.path = dir.path();
    auto store = open_store(options);
    const KeyHasher hasher(*store->key_secret("s"));
    const Redactor redactor({{"X-Api-Key"}, {"token"}}, store->redaction_secret());
    const auto take = *store->open_take("s", Append::No);
    for (int i = 0; i < 3; ++i) {
      http::RequestHead head;
      head.method = "POST";
      head.target = "/p?token=PLANTED-SECRET";
      head.headers.add("Authorization", "Bearer PLANTED-SECRET");
      head.headers.add("Cookie", "sid=PLANTED-SECRET");
      head.headers.add("X-Api-Key", "PLANTED-SECRET");
      RecordingBuilder builder({hasher, redactor, take}, store->allocate_id(), 1, "https", "h", 443, head);
      builder.body(BodySide::Request, std::string(300'000, 'q'), 1);  // a Begin row too
      auto response = Recorder::ok();
      response.headers.add("Set-Cookie", "sid=PLANTED-SECRET");
      builder.response(response);
      if (i != 2) builder.finish({});
      std::vector<PendingWrite> writes;
      builder.take_writes(writes);
      ASSERT_TRUE(store->write(writes, Durability::Fsync));
      if (i == 1) {  // reopening flushes the log into tables
        store.reset();
        store = open_store(options);
      }
    }
  }
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir.path())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_EQ(slurp(entry.path()).find("PLANTED-SECRET"), std::string::npos) << entry.path();
  }
  EXPECT_GT(files, 5u);
  struct stat secret{};
  ASSERT_EQ(::stat((dir.path() + "/match.secret").c_str(), &secret), 0);
  EXPECT_EQ(secret.st_mode & 0777, 0600u);
}

TEST(ExchangeStore, ASecondWriterIsToldWhoHoldsTheStoreAndReadersGetIn) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.admin_socket = "/run/x/admin.sock";
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  const auto id = recorder.record("/a", "body");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto second = ExchangeStore::open(options, Access::ReadWrite);
    const bool busy = !second && second.error().code == Code::Busy &&
                      second.error().detail.find(std::to_string(::getppid())) != std::string::npos &&
                      second.error().detail.find("/run/x/admin.sock") != std::string::npos;
    ::_exit(busy ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  auto reader = open_store(options, Access::ReadOnly);
  EXPECT_EQ(reader->get(id)->url(), "https://api.example.com/a");
  EXPECT_EQ(reader->create_session("x").error().code, Code::Permission);
  const auto later = recorder.record("/b", "x");
  EXPECT_EQ(reader->get(later).error().code, Code::NotFound);
  ASSERT_TRUE(reader->refresh());
  EXPECT_TRUE(reader->get(later));
}

TEST(ExchangeStore, ReadingAStoreThatIsBeingMadeIsNotFound) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  ASSERT_TRUE(ExchangeStore::open(options, Access::ReadWrite));  // secrets
  fs::remove_all(dir.path() + "/db");
  {
    rocksdb::Options database;  // its first owner has come as far as this
    database.create_if_missing = true;
    rocksdb::DB* made = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(database, dir.path() + "/db", &made).ok());
    delete made;
  }
  const auto store = ExchangeStore::open(options, Access::ReadOnly);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::NotFound) << store.error().message();
}

TEST(ExchangeStore, ReadingANewDirectoryIsNotFound) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path() + "/none";
  EXPECT_EQ(ExchangeStore::open(options, Access::ReadOnly).error().code, Code::NotFound);
  EXPECT_FALSE(fs::exists(options.path));
}

TEST(Retention, RemovesTheOldestUntilTheBoundsHold) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_recordings = 10;
  options.max_bytes = 60'000;
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  for (int i = 0; i < 15; ++i) ignore(recorder.record("/n/" + std::to_string(i), "small"), "some go");
  EXPECT_EQ(store->prune(0)->by_count, 5u);
  EXPECT_EQ(store->list_recordings({})->items.front().request.target, "/n/5");
  for (int i = 0; i < 10; ++i)
    ignore(recorder.record("/b/" + std::to_string(i), std::string(10'000, char('a' + i))), "");
  const auto counts = *store->prune(0);
  EXPECT_GT(counts.by_bytes, 0u);
  EXPECT_LE(store->stored_bytes(), options.max_bytes);
  EXPECT_TRUE(store->get(store->list_recordings({})->items.back().id));
  EXPECT_EQ(store->prune(0)->by_bytes, 0u);
}

TEST(Retention, RemovesWhatIsTooOldAndNothingElse) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  options.max_age = std::chrono::seconds(60);
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  recorder.set_started(1'000'000'000);
  ignore(recorder.record("/old", "x"), "goes");
  recorder.set_started(1'100'000'000);
  ignore(recorder.record("/new", "x"), "stays");
  EXPECT_EQ(store->prune(1'120'000'000)->by_age, 1u);
  EXPECT_EQ(store->list_recordings({})->items.at(0).request.target, "/new");
}

}  // namespace
}  // namespace tapdeck::store

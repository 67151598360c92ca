// Export, import, stores beside the store, and damaged directories.
#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "store/store_repair.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void spit(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

Code code_of(const std::string& path) {
  StoreOptions options;
  options.path = path;
  const auto store = ExchangeStore::open(options, Access::ReadWrite);
  return store ? Code::Internal : store.error().code;
}

TEST(Transfer, AnExportedSessionMatchesAndReplaysOnAnotherInstall) {
  const TestDirectory from, to, work;
  const std::string file = work.path() + "/s.tapdeck", large(600'000, 'L');
  {
    auto store = open_store(from.path());
    Recorder old(*store, "s");
    ignore(old.record("/x", "old take"), "superseded");
    Recorder recorder(*store, "s");
    ignore(recorder.record("/x", large, "asked"), "looked up below");
    ignore(recorder.record("/y", large), "the same body goes once");
    ASSERT_TRUE(store->export_session("s", file));
    EXPECT_EQ(store->export_session("s", file).error().code, Code::AlreadyExists);
    EXPECT_EQ(store->export_session("z", file + "2").error().code, Code::NotFound);
  }
  EXPECT_LT(fs::file_size(file), 620'000u);
  auto store = open_store(to.path());
  const auto imported = store->import_session(file, "copy");
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ(imported->recordings, 3u);
  const KeyHasher hasher(*store->key_secret("copy"));
  KeyBuilder key(hasher, "https", "api.example.com", 443, "POST", "/x");
  key.body("asked");
  const auto ids = *store->lookup("copy", key.key());
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_TRUE(*store->read_body(store->get("copy", ids[0])->response_body) == large);
  EXPECT_EQ(store->session("copy")->takes, 2u);
  EXPECT_EQ(store->import_session(file, "copy").error().code, Code::AlreadyExists);
  ASSERT_TRUE(store->delete_session("copy"));
  ASSERT_TRUE(store->import_session(file, "copy"));
  EXPECT_EQ(store->stored_recordings(), 3u);
  EXPECT_EQ(store->import_session(file, "bad/name").error().code, Code::InvalidArgument);
}

TEST(Transfer, EveryTruncatedOrChangedFileIsRefusedAndLeavesNothing) {
  const TestDirectory dir;
  auto store = open_store(dir.path());
  Recorder recorder(*store, "s");
  ignore(recorder.record("/x", std::string(600, 'b')), "one body in a frame of its own");
  const std::string file = dir.path() + "/s.tapdeck", bad = dir.path() + "/bad.tapdeck";
  ASSERT_TRUE(store->export_session("s", file));
  const std::string whole = slurp(file);
  for (size_t n = 0; n < whole.size(); ++n) {
    spit(bad, whole.substr(0, n));
    const auto result = store->import_session(bad, "t");
    ASSERT_FALSE(result) << n;
    ASSERT_TRUE(result.error().code == Code::Truncated || result.error().code == Code::Corrupt) << n;
  }
  for (size_t n = 0; n < whole.size(); ++n) {
    std::string changed = whole;
    changed[n] = static_cast<char>(changed[n] ^ 0x41);
    spit(bad, changed);
    ASSERT_FALSE(store->import_session(bad, "t")) << n;
  }
  spit(bad, whole + "x");
  EXPECT_EQ(store->import_session(bad, "t").error().code, Code::Corrupt);
  EXPECT_EQ(store->list_sessions()->size(), 1u);
  EXPECT_EQ(store->stored_recordings(), 1u);
}

TEST(Transfer, OfTwoImportsUnderOneNameAtOnceOneIsRefused) {
  const TestDirectory dir, other;
  const std::string file = other.path() + "/s.tapdeck";
  {
    auto from = open_store(other.path() + "/store");
    Recorder recorder(*from, "s");
    for (int i = 0; i < 500; ++i) ignore(recorder.record("/" + std::to_string(i), "x"), "so that both are at it");
    ASSERT_TRUE(from->export_session("s", file));
  }
  auto store = open_store(dir.path());
  std::atomic<int> imported = 0;
  const auto import = [&] {
    if (const auto done = store->import_session(file, {})) {
      ++imported;
    } else {
      EXPECT_EQ(done.error().code, Code::AlreadyExists);
    }
  };
  std::thread second(import);
  import();
  second.join();
  EXPECT_EQ(imported, 1);
  EXPECT_EQ(store->list_sessions()->size(), 1U);
  EXPECT_EQ(store->stored_recordings(), 500U);
}

TEST(Pending, ASecondRecorderIsMergedAsNewTakes) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  auto store = open_store(options);
  Recorder recorder(*store, "s");
  ignore(recorder.record("/x", "main"), "superseded by the merged take");
  auto beside = ExchangeStore::open_pending(options);
  ASSERT_TRUE(beside) << beside.error().message();
  const std::string path = (*beside)->options().path;
  Recorder second(**beside, "s");
  ignore(second.record("/x", "one"), "");
  ignore(second.record("/x", std::string(50'000, 'p')), "");
  EXPECT_EQ(store->merge_pending(path).error().code, Code::Busy);
  beside->reset();
  const auto merged = store->merge_pending(path);
  ASSERT_TRUE(merged) << merged.error().message();
  EXPECT_EQ(*merged, 2u);
  EXPECT_FALSE(fs::exists(path));
  const auto ids = *store->lookup("s", recorder.key("/x"));
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(*store->read_body(store->get(ids[0])->response_body), "one");
  EXPECT_EQ(store->read_body(store->get(ids[1])->response_body)->size(), 50'000u);
  EXPECT_EQ(store->session("s")->takes, 2u);
}

TEST(Pending, ASecondRecorderMayAnswerWithWhatTheFirstHas) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  auto store = open_store(options);
  const std::string segmented(50'000, 'm');
  Recorder recorder(*store, "s");
  const uint64_t short_one = recorder.record("/short", "main");
  ignore(recorder.record("/long", segmented), "looked up by its key");
  auto beside = ExchangeStore::open_pending(options, ExchangeStore::Answers::Too);
  ASSERT_TRUE(beside) << beside.error().message();
  Recorder second(**beside, "s");
  EXPECT_EQ((*beside)->key_filter(1), nullptr) << "it would hide what the other has";
  ignore(second.record("/own", "own"), "");
  const auto body_of = [&](const std::string& path) -> std::string {
    const auto ids = (*beside)->lookup("s", recorder.key(path));
    if (!ids || ids->empty()) return "nothing";
    auto found = (*beside)->get("s", ids->front());
    EXPECT_TRUE(found);
    if (path == "/short") EXPECT_EQ(found->id, short_one) << "as its own store calls it";
    return found ? (*beside)->read_body(found->response_body).value_or("unreadable") : "no recording";
  };
  EXPECT_EQ(body_of("/short"), "main");
  EXPECT_EQ(body_of("/long"), segmented);
  EXPECT_EQ(body_of("/own"), "own");
  EXPECT_EQ(body_of("/never"), "nothing");
  ignore(recorder.record("/late", "late"), "");
  EXPECT_EQ(body_of("/late"), "nothing") << "it answers as the other was when it was opened";
  ASSERT_TRUE((*beside)->open_take("fresh", Append::No));
  EXPECT_TRUE((*beside)->lookup("fresh", recorder.key("/short"))->empty()) << "a session that only it has";
  const std::string path = (*beside)->options().path;
  beside->reset();
  EXPECT_EQ(store->merge_pending(path).value_or(0), 1U) << "only what it recorded";
}

TEST(Pending, OneThatIsBeingMadeIsNotTakenForOneThatWasLeft) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  auto store = open_store(options);
  std::atomic<bool> done{false};
  std::thread maker([&] {
    for (int i = 0; i < 20; ++i) {
      auto beside = ExchangeStore::open_pending(options);
      EXPECT_TRUE(beside) << beside.error().message();
    }
    done = true;
  });
  while (!done) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(dir.path() + "/pending", error)) {
      ignore(store->merge_pending(entry.path()), "busy, or just merged");
    }
  }
  maker.join();
}

TEST(Pending, OneWhoseMakerWasKilledAtOnceIsRemoved) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  auto store = open_store(options);
  fs::create_directories(dir.path() + "/pending/1-2");
  EXPECT_EQ(store->merge_pending(dir.path() + "/pending/1-2").value_or(9), 0U);
  EXPECT_TRUE(fs::is_empty(dir.path() + "/pending"));
}

TEST(Pending, WhatAKilledRecorderLeftIsMergedByTheNextOpen) {
  const TestDirectory dir;
  StoreOptions options;
  options.path = dir.path();
  {
    auto store = open_store(options);
    auto beside = *ExchangeStore::open_pending(options);
    Recorder second(*beside, "fresh");
    ignore(second.record("/x", "left"), "");
  }
  auto store = open_store(options);
  EXPECT_EQ(store->session("fresh")->recordings, 1u);
  EXPECT_TRUE(fs::is_empty(dir.path() + "/pending"));
}

// ---- damage

std::string manifest_of(const std::string& path) {
  for (const auto& entry : fs::directory_iterator(path + "/db")) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) return entry.path().string();
  }
  return {};
}

uint64_t record_one(const std::string& path) {
  auto store = open_store(path);
  return Recorder(*store, "s").record("/x", "kept");
}

void expect_kept(const std::string& path, uint64_t id) {
  auto store = open_store(path);
  ASSERT_NE(store, nullptr);
  const auto recording = store->get("s", id);
  ASSERT_TRUE(recording) << recording.error().message();
  EXPECT_EQ(*store->read_body(recording->response_body), "kept");
}

TEST(Damage, AMissingOrGarbledCurrentIsWrittenAnew) {
  const TestDirectory dir;
  const auto id = record_one(dir.path());
  for (const char* content : {"", "garbage", "MANIFEST-999999\n"}) {
    spit(dir.path() + "/db/CURRENT", content);
    expect_kept(dir.path(), id);
  }
  fs::remove(dir.path() + "/db/CURRENT");
  expect_kept(dir.path(), id);
}

TEST(Damage, AGarbledManifestIsRebuilt) {
  const TestDirectory dir;
  const auto id = record_one(dir.path());
  std::string bytes = slurp(manifest_of(dir.path()));
  for (size_t i = 10; i < bytes.size(); i += 3) bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
  spit(manifest_of(dir.path()), bytes);
  expect_kept(dir.path(), id);
}

// A log is kept until all of it is in tables. A repair makes tables of all of it, and stumbles where there are some.
TEST(Damage, TablesThatALogIsStillKeptForAreNotInTheWayOfARepair) {
  for (const int recordings : {1, 7}) {  // families with one row are complained of in other words
    const TestDirectory dir;
    std::vector<uint64_t> ids;
    {
      auto store = open_store(dir.path());
      Recorder recorder(*store, "s");
      for (int i = 0; i < recordings; ++i)
        ids.push_back(recorder.record("/" + std::to_string(i), std::string(9000, static_cast<char>('a' + i))));
    }
    {
      std::vector<rocksdb::ColumnFamilyHandle*> handles;
      rocksdb::DB* db = nullptr;
      const auto families = describe_families({}, 8 << 20);
      ASSERT_TRUE(rocksdb::DB::Open(database_only_options(), dir.path() + "/db", families, &handles, &db).ok());
      for (size_t i = 0; i < handles.size(); i += 2)
        EXPECT_TRUE(db->Flush(rocksdb::FlushOptions(), handles[i]).ok()) << families[i].name;
      for (auto* handle : handles) EXPECT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
      delete db;
    }
    fs::remove(manifest_of(dir.path()));
    auto store = open_store(dir.path());
    ASSERT_NE(store, nullptr);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto recording = store->get("s", ids[i]);
      ASSERT_TRUE(recording) << recording.error().message();
      EXPECT_EQ(store->read_body(recording->response_body).value_or("lost"),
                std::string(9000, static_cast<char>('a' + i)));
    }
  }
}

TEST(Damage, WhatTheLogHeldBeforeItsDamageIsThereAndRecordingGoesOn) {
  const TestDirectory dir;
  std::vector<uint64_t> ids;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    for (const char* path : {"/a", "/b", "/c", "/d"}) ids.push_back(recorder.record(path, std::string(5000, path[1])));
  }
  std::string log;
  for (const auto& entry : fs::directory_iterator(dir.path() + "/db")) {
    if (entry.path().extension() == ".log" && fs::file_size(entry) > 0) log = entry.path();
  }
  ASSERT_FALSE(log.empty());
  std::string bytes = slurp(log);
  bytes.replace(bytes.size() * 5 / 8, 8, "DAMAGED!");
  spit(log, bytes);
  uint64_t later = 0;
  {
    auto store = open_store(dir.path());
    EXPECT_TRUE(store->get("s", ids.front()));
    EXPECT_FALSE(store->get("s", ids.back())) << "the damage did no damage";
    later = Recorder(*store, "s").record("/later", "later");
  }
  EXPECT_TRUE(fs::exists(dir.path() + "/db.damaged/" + fs::path(log).filename().string()));
  auto store = open_store(dir.path());
  EXPECT_TRUE(store->get("s", ids.front()));
  EXPECT_TRUE(store->get("s", later)) << "what came after the damage was told is not lost with it";
}

TEST(Damage, WhatCannotBeRepairedIsNamedAndLeftAlone) {
  const TestDirectory dir;
  ignore(record_one(dir.path()), "will be unreadable");
  fs::remove_all(dir.path() + "/db");
  spit(dir.path() + "/db", "a file where a directory was");
  StoreOptions options;
  options.path = dir.path();
  const auto store = ExchangeStore::open(options, Access::ReadWrite);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().detail, HasSubstr(dir.path()));
  EXPECT_EQ(slurp(dir.path() + "/db"), "a file where a directory was");
}

TEST(Damage, AStoreOfWhichNothingCanBeSavedIsNotSilentlyBegunAnew) {
  const TestDirectory dir;
  ignore(record_one(dir.path()), "will be unreadable");
  for (const auto& entry : fs::directory_iterator(dir.path() + "/db")) spit(entry.path(), "not a database");
  StoreOptions options;
  options.path = dir.path();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto store = ExchangeStore::open(options, Access::ReadWrite);
    ASSERT_FALSE(store) << attempt;
    EXPECT_EQ(store.error().code, Code::Corrupt);
    EXPECT_THAT(store.error().detail, HasSubstr(dir.path()));
  }
}

TEST(Damage, ANewerSchemaIsRefusedWithAClearWord) {
  const TestDirectory dir;
  ignore(record_one(dir.path()), "");
  {
    rocksdb::DB* raw = nullptr;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    ASSERT_TRUE(rocksdb::DB::Open(database_only_options(), dir.path() + "/db", describe_families({"future"}, 1 << 20),
                                  &handles, &raw)
                    .ok());
    ASSERT_TRUE(raw->Put({}, handles[1], "schema", "2").ok());
    for (auto* handle : handles) ASSERT_TRUE(raw->DestroyColumnFamilyHandle(handle).ok());
    delete raw;
  }
  EXPECT_EQ(code_of(dir.path()), Code::Unsupported);
}

TEST(Damage, ASecretOfAnotherStoreIsNoticed) {
  const TestDirectory dir;
  ignore(record_one(dir.path()), "");
  spit(dir.path() + "/match.secret", std::string(32, 'x'));
  EXPECT_EQ(code_of(dir.path()), Code::Corrupt);
  spit(dir.path() + "/match.secret", "short");
  EXPECT_EQ(code_of(dir.path()), Code::Corrupt);
}

}  // namespace
}  // namespace tapdeck::store

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "store/store_repair.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Flips bytes in the first block of each table of the family.
void damage(const std::string& path, const std::string& family) {
  std::vector<rocksdb::LiveFileMetaData> files;
  {
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::OpenForReadOnly(database_only_options(), path + "/db", describe_families({}, 8 << 20),
                                             &handles, &db)
                    .ok());
    db->GetLiveFilesMetaData(&files);
    for (auto* handle : handles) EXPECT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    delete db;
  }
  int damaged = 0;
  for (const auto& one : files) {
    if (one.column_family_name != family) continue;
    std::fstream file(one.directory + "/" + one.relative_filename, std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(24, '\0');
    file.seekg(8).read(bytes.data(), 24);
    for (char& byte : bytes) byte = static_cast<char>(~byte);
    file.seekp(8).write(bytes.data(), 24);
    ++damaged;
  }
  EXPECT_GT(damaged, 0);
}

Error error_of(const std::string& path, Access access) {
  StoreOptions options;
  options.path = path;
  const auto store = ExchangeStore::open(options, access);
  EXPECT_FALSE(store);
  return store ? Error{} : store.error();
}

// Writes all tables, with bodies in blob files.
void flush(const std::string& path) {
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const auto families = describe_families({}, 8 << 20);
  ASSERT_TRUE(rocksdb::DB::Open(database_only_options(), path + "/db", families, &handles, &db).ok());
  EXPECT_TRUE(db->Flush(rocksdb::FlushOptions(), handles).ok());
  for (auto* handle : handles) EXPECT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
  delete db;
}

TEST(DamagedMeta, IsBegunAnewAndAllRecordingsAreThere) {
  const TestDirectory dir;
  uint64_t id = 0, bytes = 0;
  {
    auto store = open_store(dir.path());
    Recorder recorder(*store, "s");
    id = recorder.record("/a", std::string(9000, 'a'));
    recorder.record("/b", std::string(9000, 'a'));
    bytes = store->stored_bytes();
  }
  flush(dir.path());
  damage(dir.path(), "meta");
  EXPECT_THAT(error_of(dir.path(), Access::ReadOnly).detail,
              AllOf(HasSubstr("is damaged"), HasSubstr("a recording run or the daemon repairs")));
  uint64_t later = 0;
  {
    auto store = open_store(dir.path());
    ASSERT_NE(store, nullptr);
    const auto recording = store->get("s", id);
    ASSERT_TRUE(recording);
    EXPECT_EQ(store->read_body(recording->response_body).value_or("lost"), std::string(9000, 'a'));
    EXPECT_EQ(store->stored_bytes(), bytes);
    later = Recorder(*store, "s").record("/later", "later");
    EXPECT_GT(later, id);
  }
  EXPECT_TRUE(fs::exists(dir.path() + "/db.damaged"));
  EXPECT_TRUE(open_store(dir.path(), Access::ReadOnly)->get("s", later));
}

TEST(DamagedMeta, OfOtherTablesSaysWhatToDo) {
  const TestDirectory dir;
  {
    auto store = open_store(dir.path());
    ignore(Recorder(*store, "s").record("/a", "a"), "will be unreadable");
  }
  flush(dir.path());
  damage(dir.path(), "sessions");
  const Error error = error_of(dir.path(), Access::ReadWrite);
  EXPECT_EQ(error.code, Code::Corrupt);
  EXPECT_THAT(error.detail, AllOf(HasSubstr("restore it from a backup, or move the directory away"),
                                  Not(HasSubstr("as it was found"))));
}

}  // namespace
}  // namespace tapdeck::store

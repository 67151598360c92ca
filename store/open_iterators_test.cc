#include "store/open_iterators.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "daemon/base/test_directory.h"

namespace tapdeck::store {
namespace {

TEST(OpenIterators, WhatIsOpenWhenTheDatabaseClosesEndsWithAnError) {
  const TestDirectory dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, dir.path() + "/db", &raw).ok());
  std::unique_ptr<rocksdb::DB> db(raw);
  ASSERT_TRUE(db->Put({}, "a", "1").ok());
  ASSERT_TRUE(db->Put({}, "b", "2").ok());
  OpenIterators all;
  const auto track = [&] { return all.track(std::unique_ptr<rocksdb::Iterator>(db->NewIterator({}))); };
  track().reset();  // gone before
  auto rows = track();
  rows->SeekToFirst();
  rows->Next();
  ASSERT_TRUE(rows->Valid());
  EXPECT_EQ(rows->key().ToString() + rows->value().ToString(), "b2");
  EXPECT_TRUE(rows->status().ok());
  all.end_all();
  EXPECT_TRUE(db->Close().ok());
  db.reset();
  EXPECT_FALSE(rows->Valid());
  EXPECT_TRUE(rows->status().IsAborted()) << rows->status().ToString();
  rows->SeekToFirst();
  EXPECT_FALSE(rows->Valid());
}

}  // namespace
}  // namespace tapdeck::store

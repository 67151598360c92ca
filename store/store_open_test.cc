// What opening leaves on the disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "store/exchange_store.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

size_t logs_below(const std::string& path) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
    count += entry.path().extension() == ".log" ? 1 : 0;
  return count;
}

TEST(StoreOpen, ManyShortOpensDoNotLeaveAsManyLogs) {
  const TestDirectory dir;
  size_t most = 0;
  constexpr int kOpens = 40;
  for (int i = 0; i < kOpens; ++i) {
    {
      auto store = open_store(dir.path());
      ASSERT_TRUE(store->create_session("s" + std::to_string(i)));
    }
    most = std::max(most, logs_below(dir.path()));
  }
  EXPECT_LE(most, 20U);
  EXPECT_EQ(open_store(dir.path())->list_sessions()->size(), size_t{kOpens});
}

}  // namespace
}  // namespace tapdeck::store

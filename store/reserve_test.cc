#include "store/reserve.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "daemon/base/test_directory.h"

namespace tapdeck::store {
namespace {

constexpr uint64_t kBytes = 1 << 20;

uint64_t on_disk(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
}

TEST(Reserve, TakesSpaceUntilItIsGivenUp) {
  const TestDirectory dir;
  const std::string path = dir.path() + "/reserve";
  Reserve reserve(path, kBytes);
  reserve.keep();
  if (!reserve.is_kept()) GTEST_SKIP() << "this file system sets no space aside";
  EXPECT_GE(on_disk(path), kBytes);
  Reserve next(path, kBytes);
  EXPECT_TRUE(next.give_up()) << "though another process took it";
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(next.give_up());
  next.keep();
  EXPECT_GE(on_disk(path), kBytes);
}

TEST(Reserve, IsNotTheLastOfTheDisk) {
  const TestDirectory dir;
  const uint64_t all = room_at(dir.path());
  Reserve reserve(dir.path() + "/reserve", all / 2 + (64ull << 20));
  reserve.keep();
  EXPECT_FALSE(reserve.is_kept());
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/reserve"));
}

TEST(Reserve, OfNothingLeavesNoFile) {
  const TestDirectory dir;
  Reserve reserve(dir.path() + "/reserve", 0);
  reserve.keep();
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace tapdeck::store

#include "daemon/app/kept_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

namespace tapdeck::app {
namespace {

TEST(KeptFile, IsReplacedAsAWholeAndPrivate) {
  const std::filesystem::path directory = testing::TempDir() + "tapdeck-kept-" + std::to_string(::getpid());
  std::filesystem::create_directories(directory);
  const auto file = directory / "f";
  for (const char* text : {"longer than the next", "short"}) {
    ASSERT_TRUE(replace_on_disk(file, text));
    std::ifstream in(file);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), text);
  }
  struct stat info{};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  const auto refused = replace_on_disk(directory / "none" / "f", "x");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("none/f"), std::string::npos) << refused.error().message();
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace tapdeck::app

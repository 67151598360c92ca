#include "daemon/admin/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/test_directory.h"

namespace tapdeck::admin {
namespace {

TEST(AdminToken, IsNewAtEveryStartLongAndOnlyOursToRead) {
  const TestDirectory directory;
  const auto file = directory.write("token", "left by an older daemon\n");
  const std::string first = make_token(file).value().text;
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(read_token(file).value(), first);
  struct stat info{};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_NE(make_token(file).value().text, first);
}

TEST(AdminToken, OfARunningDaemonIsNotTaken) {
  const TestDirectory directory;
  const auto file = directory / "held";
  auto first = make_token(file);
  ASSERT_TRUE(first);
  const auto second = make_token(file);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::Busy);
  EXPECT_EQ(read_token(file).value(), first->text);
  first->held.reset();
  EXPECT_TRUE(make_token(file));
}

TEST(AdminToken, MissingDirectoryIsNamed) {
  const auto made = make_token("/nonexistent/token");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("/nonexistent/token"), std::string::npos);
  EXPECT_EQ(read_token("/nonexistent/token").error().code, Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::admin

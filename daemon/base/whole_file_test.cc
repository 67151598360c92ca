#include "daemon/base/whole_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "daemon/base/processes.h"
#include "daemon/base/test_directory.h"

namespace tapdeck {
namespace {

namespace fs = std::filesystem;

class WholeFile : public testing::Test {
 protected:
  [[nodiscard]] std::string content() const {
    std::ifstream in(file_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()));
  }
  [[nodiscard]] mode_t mode() const {
    struct stat info{};
    EXPECT_EQ(::stat(file_.c_str(), &info), 0);
    return info.st_mode & 0777;
  }
  TestDirectory directory_;
  fs::path file_ = directory_ / "f";
};

TEST_F(WholeFile, WhatAKillLeftIsRemovedAndNothingElse) {
  const auto child = ::fork();
  if (child == 0) {  // killed between making the new file and renaming it
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_FSIZE, &none);
    std::signal(SIGXFSZ, SIG_DFL);
    ignore(replace_file(file_, "never whole", 0600, Sync::No), "it is killed");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(files(), 1U) << "what it left";
  for (const char* name : {"f", "f.crt", "f.backup", "f.unfinished-", "f.crt.unfinished-a1B2c3", "g.unfinished-a1B2c3"})
    std::ofstream(directory_ / name) << "x";
  remove_unfinished(file_);
  EXPECT_EQ(files(), 6U);
  EXPECT_TRUE(fs::exists(directory_ / "f.backup"));
}

TEST_F(WholeFile, IsReplacedAsAWholeAndLeavesNothingElse) {
  for (const Sync sync : {Sync::No, Sync::Content, Sync::Name}) {
    for (const char* text : {"longer than the next", "short", ""}) {
      ASSERT_TRUE(replace_file(file_, text, 0600, sync));
      EXPECT_EQ(content(), text);
      EXPECT_EQ(files(), 1U);
    }
  }
}

TEST_F(WholeFile, HasExactlyTheModeWhateverTheUmask) {
  const mode_t before = ::umask(077);
  EXPECT_TRUE(replace_file(file_, "x", 0644, Sync::No));
  ::umask(0);
  EXPECT_EQ(mode(), 0644U);
  EXPECT_TRUE(replace_file(file_, "x", 0600, Sync::No));
  ::umask(before);
  EXPECT_EQ(mode(), 0600U);
}

TEST_F(WholeFile, AReaderOfTheOldOneKeepsIt) {
  ASSERT_TRUE(replace_file(file_, "old", 0600, Sync::No));
  std::ifstream reader(file_);
  ASSERT_TRUE(replace_file(file_, "new", 0600, Sync::No));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), "old");
  EXPECT_EQ(content(), "new");
}

TEST_F(WholeFile, ALinkIsReplacedAndNotFollowed) {
  std::ofstream(directory_ / "other") << "untouched";
  fs::create_symlink("other", file_);
  ASSERT_TRUE(replace_file(file_, "new", 0600, Sync::No));
  EXPECT_FALSE(fs::is_symlink(file_));
  std::ifstream other(directory_ / "other");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(other), {}), "untouched");
}

TEST_F(WholeFile, AFailedWriteLeavesTheOldContentAndNothingElse) {
  ASSERT_TRUE(replace_file(file_, "old", 0600, Sync::No));
  const pid_t child = ::fork();  // the limit is for the whole process
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4, 4};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto done = replace_file(file_, "longer than four", 0600, Sync::Name);
    ::_exit(!done && done.error().sys_errno == EFBIG ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(WholeFile, AFailedRenameLeavesWhatIsThereAndNothingElse) {
  fs::create_directory(file_);
  const auto done = replace_file(file_, "x", 0600, Sync::Name);
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message().find(file_.string()), std::string::npos) << done.error().message();
  EXPECT_TRUE(fs::is_directory(file_));
  EXPECT_EQ(files(), 1U);
}

TEST_F(WholeFile, AMissingFolderIsNotFoundAndNamed) {
  const auto done = replace_file(directory_ / "none" / "f", "x", 0600, Sync::Name);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::NotFound);
  EXPECT_NE(done.error().message().find("none/f"), std::string::npos) << done.error().message();
}

TEST_F(WholeFile, WhatIsHeldIsHeldAsLongAsTheDescriptor) {
  auto held = replace_and_hold(file_, "x", 0600);
  ASSERT_TRUE(held);
  EXPECT_EQ(content(), "x");
  EXPECT_TRUE(is_held(file_));
  held->reset();
  EXPECT_FALSE(is_held(file_));
}

}  // namespace
}  // namespace tapdeck

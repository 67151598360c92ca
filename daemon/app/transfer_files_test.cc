#include "daemon/app/transfer_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "daemon/base/test_directory.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;

// Of a process that has ended.
int dead_pid() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  return child;
}

TEST(TransferFiles, ANamelessFileIsFoundByNobody) {
  const TestDirectory directory;
  const auto file = nameless_file(directory.path());
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(write_all(file->get(), "all of a session"));
  struct stat status{};
  ASSERT_EQ(::fstat(file->get(), &status), 0);
  EXPECT_EQ(status.st_nlink, 0U);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_TRUE(fs::is_empty(directory.path()));
  EXPECT_FALSE(nameless_file(directory / "missing"));
}

TEST(TransferFiles, AStagedImportIsThereAsLongAsItIsNeeded) {
  const TestDirectory directory;
  const fs::path from = directory.write("s.tapdeck", "a session");
  fs::create_directory(directory / "state");
  {
    const auto staged = StagedImport::copy_of(from.string(), "s.tapdeck", directory / "state");
    ASSERT_TRUE(staged) << staged.error().message();
    remove_left_imports(directory / "state");
    std::ifstream in(staged->path());
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "a session");
  }
  EXPECT_TRUE(fs::is_empty(directory / "state"));
  EXPECT_FALSE(StagedImport::copy_of("/nonexistent", "stdin", directory / "state"));
  EXPECT_FALSE(StagedImport::copy_of((directory / "state").string(), "a directory", directory / "state"));
  EXPECT_TRUE(fs::is_empty(directory / "state")) << "nor anything of a copy that failed";
}

TEST(TransferFiles, WhatTheDeadLeftIsRemovedAndNothingElse) {
  const TestDirectory directory;
  const int dead = dead_pid();
  const fs::path left = directory.write("import-" + std::to_string(dead) + ".tapdeck", "x");
  const fs::path ours = directory.write("import-" + std::to_string(::getpid()) + ".tapdeck", "x");
  const std::vector<fs::path> others = {directory.write("import-.tapdeck", "x"),
                                        directory.write("import-7x.tapdeck", "x"), directory.write("targets.json", "x"),
                                        directory.write(std::to_string(dead) + ".tapdeck", "x")};
  remove_left_imports(directory.path());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(ours));
  for (const fs::path& other : others) EXPECT_TRUE(fs::exists(other)) << other;
  remove_left_imports(directory / "missing");
}

}  // namespace
}  // namespace tapdeck::app

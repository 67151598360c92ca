#include "daemon/trust/in_root.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/files.h"

namespace tapdeck::trust {
namespace {

TEST(OpenInRoot, ResolvesAbsoluteLinksInsideTheRoot) {
  TestDirectory root;
  root.write("real/file", "inside");
  root.link("link", "/real/file");
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto file = open_in_root(fd.get(), "/link", O_PATH);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(path_below(fd.get(), file->get()).value(), "/real/file");
  EXPECT_EQ(open_in_root(fd.get(), "/nothing", O_PATH).error().code, Code::NotFound);
}

TEST(OpenInRoot, FollowsNoLinkWhereNoneMayBe) {
  TestDirectory root;
  root.write("real/file", "inside");
  root.link("link", "/real");
  const UniqueFd fd(::open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(open_in_root(fd.get(), "/real/file", O_PATH, Symlinks::Refused));
  EXPECT_EQ(open_in_root(fd.get(), "/link/file", O_PATH, Symlinks::Refused).error().sys_errno, ELOOP);
}

TEST(ReopenFile, ReadsTheFileThatWasFoundWhateverHasItsNameNow) {
  TestDirectory root;
  root.write("d/file", "found");
  root.write("secret/file", "secret");
  const UniqueFd place(::open((root / "d/file").c_str(), O_PATH | O_CLOEXEC));
  std::filesystem::rename(root / "d", root / "e");
  root.link("d", "secret");
  const auto file = reopen_file(place.get());
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(read_all(file->get(), 100).value(), "found");
}

TEST(ReopenFile, OpensNoFifo) {
  TestDirectory root;
  ASSERT_EQ(::mkfifo((root / "fifo").c_str(), 0600), 0);
  const UniqueFd place(::open((root / "fifo").c_str(), O_PATH | O_CLOEXEC));
  EXPECT_EQ(reopen_file(place.get()).error().code, Code::Unsupported);
}

}  // namespace
}  // namespace tapdeck::trust

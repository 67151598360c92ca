#include "daemon/kernel/cgroup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "daemon/base/test_directory.h"

namespace tapdeck::kernel {
namespace {

TEST(Cgroup, FindsCgroup2BelowAHybridLayout) {
  const std::string mounts =
      "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n"
      "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
      "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
  EXPECT_EQ(parse_cgroup2_mount(mounts), "/sys/fs/cgroup/unified");
}

TEST(Cgroup, MountPathsAreUnescaped) {
  EXPECT_EQ(parse_cgroup2_mount("none /mnt/a\\040b cgroup2 rw 0 0\n"), "/mnt/a b");
  EXPECT_EQ(parse_cgroup2_mount("none /mnt/a\\04 cgroup2 rw 0 0\n"), "/mnt/a\\04");
}

TEST(Cgroup, NoCgroup2IsAbsence) {
  EXPECT_FALSE(parse_cgroup2_mount("cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n"));
  EXPECT_FALSE(parse_cgroup2_mount(""));
}

TEST(Cgroup, PathOfAProcessIsTheLineOfHierarchyZero) {
  EXPECT_EQ(parse_cgroup2_path("9:name=systemd:/a\n0::/machine.slice/x.scope\n"), "/machine.slice/x.scope");
  EXPECT_FALSE(parse_cgroup2_path("9:name=systemd:/a\n"));
}

class CgroupFiles : public testing::Test {
 protected:
  [[nodiscard]] std::string write(const std::string& text) const { return directory_.write("f", text); }
  TestDirectory directory_;
};

TEST_F(CgroupFiles, MountIsFoundInTheGivenTable) {
  EXPECT_EQ(find_cgroup2_mount(write("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                                     "cgroup2 /sys/fs/cgroup/a\\040b cgroup2 rw 0 0\n"))
                .value(),
            "/sys/fs/cgroup/a b");
  EXPECT_EQ(find_cgroup2_mount("/nonexistent-tapdeck").error().code, Code::NotFound);
}

TEST_F(CgroupFiles, SaysHowToMountWhatIsMissing) {
  const auto mount = find_cgroup2_mount(write("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"));
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, Code::Unsupported);
  EXPECT_NE(mount.error().detail.find("mount -t cgroup2"), std::string::npos);
}

TEST_F(CgroupFiles, TheCgroup2LineIsReadAmongOthers) {
  EXPECT_EQ(cgroup2_line(write("9:name=systemd:/user.slice\n4:memory:/jobs\n0::/user.slice/a:b\n")).value(),
            "/user.slice/a:b");
  EXPECT_EQ(cgroup2_line(write("4:memory:/jobs\n")).error().code, Code::NotFound);
  EXPECT_EQ(cgroup2_line("/proc/2147483646/cgroup").error().code, Code::NotFound);
}

TEST(Cgroup, ProcessesBelowAreReadAndThoseThatAreNotShownAreZero) {
  const TestDirectory directory;
  std::filesystem::create_directories(directory / "below" / "deeper");
  std::filesystem::create_directories(directory / "threaded");
  std::ofstream(directory / "cgroup.procs") << "12\n0\n";
  std::ofstream(directory / "below" / "deeper" / "cgroup.procs") << "13\n";
  const UniqueFd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<int> all;
  EXPECT_EQ(read_cgroup_processes(fd.get(), all), 0) << "one without the file has no processes of its own";
  EXPECT_THAT(all, testing::UnorderedElementsAre(12, 0, 13));
  EXPECT_THAT(cgroup_processes(fd.get()), testing::UnorderedElementsAre(12, 13));
  EXPECT_THAT(cgroup_own_processes(fd.get()), testing::ElementsAre(12));
}

TEST(Cgroup, WhatCannotBeReadIsToldAndTheRestIsRead) {
  const TestDirectory directory;
  std::filesystem::create_directories(directory / "below" / "cgroup.procs");
  std::ofstream(directory / "cgroup.procs") << "12\n";
  const UniqueFd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<int> all;
  EXPECT_EQ(read_cgroup_processes(fd.get(), all), EISDIR);
  EXPECT_THAT(all, testing::ElementsAre(12));
}

TEST(Cgroup, OrdinaryDirectoryIsRefused) {
  const auto opened = open_cgroup("/tmp");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::InvalidArgument);
  EXPECT_EQ(open_cgroup("/nonexistent-tapdeck").error().code, Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::kernel

#include "daemon/kernel/cgroup.h"

#include <gtest/gtest.h>

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

TEST(Cgroup, OrdinaryDirectoryIsRefused) {
  const auto opened = open_cgroup("/tmp");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::InvalidArgument);
  EXPECT_EQ(open_cgroup("/nonexistent-tapdeck").error().code, Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::kernel

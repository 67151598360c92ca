#include "daemon/base/mount_path.h"

#include <gtest/gtest.h>

namespace tapdeck {
namespace {

TEST(MountPath, EscapesBecomeTheirCharacters) {
  EXPECT_EQ(unescape_mount_path("/mnt/a\\040b\\011c\\012d\\134e"), "/mnt/a b\tc\nd\\e");
  EXPECT_EQ(unescape_mount_path("\\040"), " ");
}

TEST(MountPath, WhatIsNoEscapeStays) {
  EXPECT_EQ(unescape_mount_path("/plain"), "/plain");
  EXPECT_EQ(unescape_mount_path("/a\\04"), "/a\\04");
  EXPECT_EQ(unescape_mount_path("/a\\089"), "/a\\089");
  EXPECT_EQ(unescape_mount_path("/a\\"), "/a\\");
}

}  // namespace
}  // namespace tapdeck

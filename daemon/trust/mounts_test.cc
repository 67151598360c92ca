#include "daemon/trust/mounts.h"

#include <gtest/gtest.h>

namespace tapdeck::trust {
namespace {

TEST(ParseMountinfo, ReadsIdsPointsGroupsAndSources) {
  const auto entries = parse_mountinfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "40 36 0:5 / /with\\040space rw shared:17 master:3 - tmpfs tapdeck-trust:0011 ro\n"
      "nonsense\n"
      "41 36 0:5 / /no/dash rw shared:17 master:3 tmpfs none\n");
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].id, 36U);
  EXPECT_EQ(entries[0].parent, 35U);
  EXPECT_EQ(entries[0].point, "/mnt2");
  EXPECT_EQ(entries[0].shared_group, 0U);
  EXPECT_EQ(entries[0].source, "/dev/root");
  EXPECT_EQ(entries[1].point, "/with space");
  EXPECT_EQ(entries[1].shared_group, 17U);
  EXPECT_EQ(entries[1].source, "tapdeck-trust:0011");
}

}  // namespace
}  // namespace tapdeck::trust

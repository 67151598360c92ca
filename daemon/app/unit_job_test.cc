#include "daemon/app/unit_job.h"

#include <gtest/gtest.h>

namespace tapdeck::app {
namespace {

TEST(UnitJob, TheUnitIsTheInnermostServiceOfTheCgroup) {
  EXPECT_EQ(unit_of("0::/system.slice/tapdeck.service\n"), "tapdeck.service");
  EXPECT_EQ(unit_of("1:name=systemd:/x.service\n0::/user.slice/user@0.service/app.slice/tapdeck.service/control\n"),
            "tapdeck.service");
  EXPECT_EQ(unit_of("0::/user.slice/session-1.scope\n"), "");
  EXPECT_EQ(unit_of("0::/\n"), "");
  EXPECT_EQ(unit_of(""), "");
}

TEST(UnitJob, OnlyAJobOfThisUnitThatStartsItAgainIsARestart) {
  const char* jobs = "1203 other.service   restart waiting\n1204 tapdeck.service restart running\n";
  EXPECT_TRUE(is_restart(jobs, "tapdeck.service"));
  EXPECT_FALSE(is_restart(jobs, "deck.service"));
  EXPECT_FALSE(is_restart("1204 tapdeck.service stop running\n", "tapdeck.service"));
  EXPECT_FALSE(is_restart("1204 restart.service stop running\n", "tapdeck.service"));
  EXPECT_FALSE(is_restart("No jobs running.\n", "tapdeck.service"));
  EXPECT_FALSE(is_restart("", "tapdeck.service"));
}

}  // namespace
}  // namespace tapdeck::app

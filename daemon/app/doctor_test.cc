#include "daemon/app/doctor.h"

#include <gmock/gmock.h>

namespace tapdeck::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Verdict when(bool cgroup, bool tc) {
  return verdict_of({{"kernel", true, "", ""},
                     {"cgroup_capture", cgroup, "", ""},
                     {"tc_capture", tc, "", ""},
                     {"btf", true, "", ""}});
}

TEST(Doctor, SaysByWhichPathThisHostCanCapture) {
  EXPECT_EQ(when(true, true).text, "This host can capture.");
  EXPECT_THAT(when(true, false).text, HasSubstr("but not by `attach --interface`"));
  EXPECT_THAT(when(false, true).text, HasSubstr("only by `attach --interface`"));
  EXPECT_THAT(when(false, true).text, HasSubstr("`tapdeck run`"));
  EXPECT_FALSE(when(false, true).by_cgroup);
  EXPECT_TRUE(when(false, true).by_interface);
  EXPECT_THAT(when(false, false).text, HasSubstr("No capture path works"));
  EXPECT_THAT(verdict_of({}).text, Not(HasSubstr("can capture.")));
}

TEST(Doctor, WhatNothingNeedsYetIsNoFailure) {
  EXPECT_EQ(lines_of({"btf", false, "no BTF", "no escapes"}), "FAIL  btf: no BTF\n      without it: no escapes\n");
  EXPECT_EQ(lines_of({"nft_tproxy", false, "no nft", "a thing to come", kernel::Use::Later}),
            "note  nft_tproxy: no nft\n      nothing needs it yet; will do: a thing to come\n");
  EXPECT_EQ(lines_of({"nft_tproxy", true, "accepted", "", kernel::Use::Later}), "ok    nft_tproxy: accepted\n");
}

}  // namespace
}  // namespace tapdeck::app

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

}  // namespace
}  // namespace tapdeck::app

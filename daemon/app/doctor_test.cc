#include "daemon/app/doctor.h"

#include <gmock/gmock.h>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Verdict when(bool cgroup, bool tc, bool netns = false) {
  return verdict_of({{"kernel", true, "", ""},
                     {"cgroup_capture", cgroup, "", ""},
                     {"tc_capture", tc, "", ""},
                     {"netns_capture", netns, "", ""},
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
  EXPECT_THAT(when(false, false, true).text, HasSubstr("one command: `tapdeck run`"));
  EXPECT_THAT(when(false, true, true).text, HasSubstr("`tapdeck run --capture netns`"));
  EXPECT_TRUE(when(false, false, true).by_namespace);
  EXPECT_THAT(verdict_of({}).text, Not(HasSubstr("can capture.")));
}

TEST(Doctor, WhatIsLostBesideCaptureIsNoFailure) {
  EXPECT_EQ(lines_of({"btf", false, "no BTF", "no escapes"}), "FAIL  btf: no BTF\n      without it: no escapes\n");
  EXPECT_EQ(lines_of({"trust_capabilities", false, "missing CAP_SYS_PTRACE", "no trust", kernel::Use::Partly}),
            "note  trust_capabilities: missing CAP_SYS_PTRACE\n      without it: no trust\n");
}

TEST(Doctor, NamesTheErrorsOfTheConfiguration) {
  const TestDirectory directory;
  const auto file = directory.write("c.toml", "[proxy]\nmode = \"replay\"\n");
  EXPECT_EQ(lines_of(look_at_configuration(file)), "ok    configuration: " + file.string() + "\n");
  directory.write("c.toml", "[proxy]\nmod = 1\n");
  EXPECT_THAT(lines_of(look_at_configuration(file)),
              ::testing::AllOf(HasSubstr("FAIL  configuration: "), HasSubstr("c.toml:2:1: unknown key 'mod'")));
  EXPECT_THAT(lines_of(look_at_configuration(directory / "none.toml")), HasSubstr("none.toml"));
}

}  // namespace
}  // namespace tapdeck::app

#include "daemon/app/unit_sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string hint(int sys_errno, const std::string& detail) {
  return unit_hint(fail_errno(sys_errno, detail).error(), "/srv/td");
}

TEST(UnitSandbox, AReadOnlyPlaceIsAllowedByADropIn) {
  EXPECT_THAT(hint(EROFS, "create /srv/td/ca-key.pem"), HasSubstr("[Service] ReadWritePaths=/srv/td"));
  EXPECT_THAT(hint(EROFS, "make directory /srv/td (choose another with --state-dir)"),
              ::testing::EndsWith("ReadWritePaths=/srv/td"));
  EXPECT_THAT(hint(EROFS, "admin server cannot listen on /srv/a/s (admin.socket)"),
              ::testing::EndsWith("ReadWritePaths=/srv/a"));
  EXPECT_EQ(hint(ENOSPC, "create /srv/td/ca-key.pem"), "");
}

TEST(UnitSandbox, ALowPortNeedsACapability) {
  EXPECT_THAT(hint(EACCES, "cannot listen on 127.0.0.1:80 (proxy.listen)"),
              HasSubstr("CapabilityBoundingSet=CAP_NET_BIND_SERVICE"));
  EXPECT_THAT(hint(EACCES, "cannot listen on [::1]:443 (proxy.listen)"), HasSubstr("CAP_NET_BIND_SERVICE"));
  EXPECT_EQ(hint(EACCES, "cannot listen on 127.0.0.1:8080 (proxy.listen)"), "");
  EXPECT_EQ(hint(EADDRINUSE, "cannot listen on 127.0.0.1:80 (proxy.listen)"), "");
}

TEST(UnitSandbox, AFileBelowHomeOrTmpIsNotSeen) {
  EXPECT_THAT(hint(ENOENT, "upstream CA file /root/ca.pem"), HasSubstr("host's /root;"));
  EXPECT_THAT(hint(ENOENT, "upstream CA file /tmp/ca.pem"), HasSubstr("BindReadOnlyPaths=/tmp/ca.pem"));
  EXPECT_EQ(hint(ENOENT, "upstream CA file /etc/ca.pem"), "");
  EXPECT_EQ(hint(ENOENT, "upstream CA file /rooted/ca.pem"), "");
  EXPECT_EQ(hint(ENOENT, "nothing named"), "");
}

TEST(UnitSandbox, AConfigurationThatNamesAFileBelowRootSaysSoLineByLine) {
  const std::string seen = "a.toml:2:16: upstream_ca in [tls]: there is no file /etc/ca.pem";
  const std::string hidden = "a.toml:3:16: upstream_ca in [tls]: there is no file /root/ca.pem";
  EXPECT_EQ(with_unit_hints(seen), seen);
  const std::string both = with_unit_hints(hidden + "\n" + seen);
  EXPECT_THAT(both, ::testing::StartsWith(hidden + "; the unit does not see the host's /root"));
  EXPECT_THAT(both, HasSubstr("BindReadOnlyPaths=/root/ca.pem\n" + seen));
}

TEST(UnitSandbox, AStateDirectoryThatGoesWithTheServiceIsRefused) {
  const TestDirectory directory;
  const fs::path other = directory.path();  // a "host" with another /tmp
  fs::create_directories(other / "tmp");
  const auto lost = check_state_lasts("/tmp/tapdeck-not-there/state", other);
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().detail, HasSubstr("BindPaths=/tmp/tapdeck-not-there/state"));
  EXPECT_FALSE(check_state_lasts("/tmp", other)) << "the place itself";
  EXPECT_TRUE(check_state_lasts("/tmp/tapdeck-not-there/state", "/")) << "the host's own";
  EXPECT_FALSE(check_state_lasts(other, other)) << "there, but not on the host";
  EXPECT_TRUE(check_state_lasts("/var/lib/tapdeck", other)) << "no such place";
}

}  // namespace
}  // namespace tapdeck::app

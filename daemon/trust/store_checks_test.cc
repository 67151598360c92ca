#include "daemon/trust/store_checks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/base/test_directory.h"
#include "daemon/trust/in_root.h"
#include "daemon/trust/test_certificates.h"

namespace tapdeck::trust {
namespace {

using testing::HasSubstr;

constexpr uid_t kUser = 1000;
constexpr uid_t kOther = 1001;

class StoreChecks : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files to users";
    ASSERT_EQ(::chmod(root_.path().c_str(), 0755), 0);
  }
  void make(const std::string& name, uid_t uid, mode_t mode = 0644) {
    root_.write(name, kOtherPem);
    give(name, uid, mode);
  }
  void give(const std::string& name, uid_t uid, mode_t mode) {
    EXPECT_EQ(::chown((root_ / name).c_str(), uid, uid), 0);
    EXPECT_EQ(::chmod((root_ / name).c_str(), mode), 0);
  }
  void link(const std::string& name, const std::string& to, uid_t uid) {
    root_.link(name, to);
    EXPECT_EQ(::lchown((root_ / name).c_str(), uid, uid), 0);
  }
  [[nodiscard]] std::string namer_may(const std::string& name, const Namer& by) const {
    const UniqueFd fd(::open((root_ / name).c_str(), O_PATH | O_CLOEXEC));
    const auto checked = check_namer(where(), by, fd.get());
    return checked ? "yes" : checked.error().detail;
  }
  // The file that the link leads to, or why it may not.
  [[nodiscard]] std::string led_to(const std::string& directory, const std::string& name) const {
    const UniqueFd fd(::open((root_ / directory).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const auto place = follow_owned_link(where(), fd.get(), name);
    return place ? path_below(fd_.get(), place->get()).value_or("?") : place.error().detail;
  }
  [[nodiscard]] SearchRoot where() const { return SearchRoot{fd_.get(), 0}; }

  TestDirectory root_;
  UniqueFd fd_{::open(root_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
};

TEST_F(StoreChecks, AClosedDirectoryAboveClosesAFileThatAllMayRead) {
  make("open/ca.pem", 0);
  make("closed/deep/ca.pem", 0);
  make("closed/own.pem", kUser);
  make("group/ca.pem", 0);
  give("closed", 0, 0700);
  give("group", 50, 0710);
  const Namer user{kUser, {kUser}};
  EXPECT_EQ(namer_may("open/ca.pem", user), "yes");
  EXPECT_THAT(namer_may("closed/deep/ca.pem", user), HasSubstr("below a directory that is closed"));
  EXPECT_THAT(namer_may("closed/own.pem", user), HasSubstr("below a directory that is closed"));
  EXPECT_THAT(namer_may("group/ca.pem", user), HasSubstr("below a directory that is closed"));
  EXPECT_EQ(namer_may("group/ca.pem", Namer{kUser, {50}}), "yes");
  EXPECT_EQ(namer_may("closed/deep/ca.pem", Namer{}), "yes") << "root";
  give("closed", kUser, 0700);
  EXPECT_EQ(namer_may("closed/deep/ca.pem", user), "yes");
}

TEST_F(StoreChecks, ALinkLeadsToWhatItsOwnerCouldHaveNamed) {
  make("cache/roots.pem", 0);
  make("cache/own.pem", kUser);
  make("cache/others.pem", kOther);
  make("cache/open.pem", kUser, 0666);
  make("cache/private.pem", 0, 0600);
  std::filesystem::create_directories(root_ / "user");
  std::filesystem::create_directories(root_ / "roots");
  give("user", kUser, 0755);
  for (const char* name : {"roots", "own", "others", "open", "private"}) {
    link(std::string("user/") + name, "../cache/" + std::string(name) + ".pem", kUser);
    link(std::string("roots/") + name, "/cache/" + std::string(name) + ".pem", 0);
  }
  link("user/gone", "nowhere", kUser);
  link("user/not-theirs", "../cache/roots.pem", kOther);
  EXPECT_EQ(led_to("user", "roots"), "/cache/roots.pem");
  EXPECT_EQ(led_to("user", "own"), "/cache/own.pem");
  EXPECT_THAT(led_to("user", "others"), HasSubstr("another user than the link"));
  EXPECT_EQ(led_to("user", "open"), "writable by all");
  EXPECT_THAT(led_to("user", "private"), HasSubstr("not readable"));
  EXPECT_THAT(led_to("user", "gone"), HasSubstr("open"));
  EXPECT_THAT(led_to("user", "not-theirs"), HasSubstr("another user than the directory"));
  EXPECT_EQ(led_to("roots", "roots"), "/cache/roots.pem");
  EXPECT_THAT(led_to("roots", "own"), HasSubstr("another user than the link"));
}

}  // namespace
}  // namespace tapdeck::trust

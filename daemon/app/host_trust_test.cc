#include "daemon/app/host_trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A root file system of a distribution with a refresh tool that writes down how it was called.
class HostTrust : public ::testing::Test {
 protected:
  void distribution(const std::string& anchors, const std::string& tool, const std::string& script = "exit 0") {
    fs::create_directories(root_ / anchors);
    fs::create_directories((root_ / tool).parent_path());
    std::ofstream(root_ / tool) << "#!/bin/sh\necho \"called $*\" >> " << (root_ / "calls").string() << "\n"
                                << script << "\n";
    fs::permissions(root_ / tool, fs::perms::owner_all);
  }
  [[nodiscard]] std::string text(const fs::path& file) const {
    std::ostringstream all;
    all << std::ifstream(root_ / file).rdbuf();
    return all.str();
  }

  TestDirectory directory_;
  fs::path root_ = directory_.path();
  const std::string print_ = "0123456789abcdef0123456789abcdef";
};

TEST_F(HostTrust, DebianGetsAFileAndItsBundleRebuiltAndLosesItAgain) {
  distribution("usr/local/share/ca-certificates", "usr/sbin/update-ca-certificates");
  const auto file = install_in_host("PEM\n", print_, root_);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(*file, root_ / "usr/local/share/ca-certificates/tapdeck-0123456789abcdef.crt");
  EXPECT_EQ(text(fs::relative(*file, root_)), "PEM\n");
  EXPECT_EQ(text("calls"), "called \n");
  ASSERT_TRUE(install_in_host("PEM\n", print_, root_)) << "twice is fine";
  ASSERT_TRUE(remove_from_host(print_, root_));
  EXPECT_FALSE(fs::exists(*file));
  EXPECT_EQ(text("calls"), "called \ncalled \ncalled --fresh\n");
  EXPECT_EQ(remove_from_host(print_, root_).error().code, Code::NotFound);
}

TEST_F(HostTrust, FedoraKeepsItsAnchorsElsewhere) {
  distribution("etc/pki/ca-trust/source/anchors", "usr/bin/update-ca-trust");
  const auto file = install_in_host("PEM\n", print_, root_);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(*file, root_ / "etc/pki/ca-trust/source/anchors/tapdeck-0123456789abcdef.crt");
  EXPECT_EQ(text("calls"), "called extract\n");
}

TEST_F(HostTrust, AFailedRefreshIsToldAndLeavesNoFile) {
  distribution("usr/local/share/ca-certificates", "usr/sbin/update-ca-certificates", "echo no room >&2; exit 4");
  const auto file = install_in_host("PEM\n", print_, root_);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().detail, HasSubstr("status 4: no room"));
  EXPECT_TRUE(fs::is_empty(root_ / "usr/local/share/ca-certificates"));
}

TEST_F(HostTrust, AFailedRefreshLeavesWhatWasInstalledBefore) {
  const std::string tool = "usr/sbin/update-ca-certificates";
  distribution("usr/local/share/ca-certificates", tool);
  const auto file = install_in_host("PEM\n", print_, root_);
  ASSERT_TRUE(file) << file.error().message();
  distribution("usr/local/share/ca-certificates", tool, "exit 4");
  EXPECT_FALSE(install_in_host("PEM\n", print_, root_));
  EXPECT_EQ(text(fs::relative(*file, root_)), "PEM\n");
  EXPECT_FALSE(install_in_host("another PEM\n", print_, root_));
  EXPECT_EQ(text(fs::relative(*file, root_)), "PEM\n");
}

TEST_F(HostTrust, AnUnknownDistributionIsToldWhatElseToDo) {
  const auto file = install_in_host("PEM\n", print_, root_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::Unsupported);
  EXPECT_THAT(file.error().detail, HasSubstr("tapdeck ca export"));
}

}  // namespace
}  // namespace tapdeck::app

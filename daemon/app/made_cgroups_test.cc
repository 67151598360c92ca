// Directories are ordinary ones: inotify tells of them as of cgroups.
#include "daemon/app/made_cgroups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/base/test_directory.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

using testing::ElementsAre;

const std::string kMadeId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(MadeCgroups, ContainersAreKnownByTheIdInTheirName) {
  for (const std::string& name : {"libpod-" + kMadeId + ".scope", "docker-" + kMadeId + ".scope", kMadeId,
                                  "libpod-" + kMadeId, "cri-containerd-" + kMadeId + ".scope"}) {
    EXPECT_TRUE(is_container_cgroup(name)) << name;
  }
  for (const std::string& name : {std::string("nginx.service"), "libpod-conmon-" + kMadeId + ".scope",
                                  kMadeId.substr(1), std::string("run-r0123456789abcdef0123456789abcdef.service")}) {
    EXPECT_FALSE(is_container_cgroup(name)) << name;
  }
}

class MadeCgroupsIn : public testing::Test {
 protected:
  void SetUp() override {
    inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    ASSERT_TRUE(inotify_);
    for (const std::string& place : container_places(directory_.path())) watch_for_cgroups(inotify_.get(), place);
  }

  TestDirectory directory_;
  UniqueFd inotify_;
};

TEST_F(MadeCgroupsIn, NamesWhatWasMadeSinceTheLastCall) {
  std::filesystem::create_directory(directory_ / "jobs");
  const MadeCgroups made = read_made_cgroups(inotify_.get());
  EXPECT_THAT(made.names, ElementsAre("jobs"));
  EXPECT_TRUE(made.any);
  EXPECT_FALSE(made.container);
  EXPECT_FALSE(read_made_cgroups(inotify_.get()).any);
}

TEST_F(MadeCgroupsIn, APlaceOfContainersThatIsMadeMayHoldOneAlready) {
  std::filesystem::create_directories(directory_.path() + "/machine.slice/libpod-" + kMadeId + ".scope");
  EXPECT_TRUE(read_made_cgroups(inotify_.get()).container);
}

TEST_F(MadeCgroupsIn, TellsThatEventsWereLost) {
  size_t most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  ASSERT_GT(most, 0U);
  for (size_t i = 0; i <= most; ++i) {  // two names: the same event twice is one
    const std::string path = directory_.path() + (i % 2 == 0 ? "/a" : "/b");
    ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
    ASSERT_EQ(::rmdir(path.c_str()), 0);
  }
  EXPECT_TRUE(read_made_cgroups(inotify_.get()).lost);
  EXPECT_FALSE(read_made_cgroups(inotify_.get()).lost);
}

}  // namespace
}  // namespace tapdeck::app

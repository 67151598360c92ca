#include "daemon/app/cgroup2.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tapdeck::app {
namespace {

class Cgroup2Files : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string write(const std::string& text) {
    std::ofstream(path_) << text;
    return path_;
  }
  std::string path_ = testing::TempDir() + "tapdeck-cgroup2-" + std::to_string(::getpid());
};

TEST_F(Cgroup2Files, FindsTheMountOfAHybridLayout) {
  EXPECT_EQ(find_cgroup2_mount(write("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                                     "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
                                     "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"))
                .value(),
            "/sys/fs/cgroup/unified");
}

TEST_F(Cgroup2Files, SaysHowToMountWhatIsMissing) {
  const auto mount = find_cgroup2_mount(write("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"));
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, Code::Unsupported);
  EXPECT_NE(mount.error().detail.find("mount -t cgroup2"), std::string::npos);
}

TEST_F(Cgroup2Files, ReadsTheCgroup2LineAmongOthers) {
  EXPECT_EQ(cgroup2_line(write("9:name=systemd:/user.slice\n4:memory:/jobs\n0::/user.slice/a:b\n")).value(),
            "/user.slice/a:b");
  EXPECT_EQ(cgroup2_line(write("4:memory:/jobs\n")).error().code, Code::NotFound);
}

}  // namespace
}  // namespace tapdeck::app

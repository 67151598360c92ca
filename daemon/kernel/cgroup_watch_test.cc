// The watch on plain directories that look like cgroups: no privilege needed. That kernfs tells the same is in
// netns/capture_early_test.cc.
#include "daemon/kernel/cgroup_watch.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "daemon/base/test_directory.h"

namespace tapdeck::kernel {
namespace {

namespace fs = std::filesystem;

class CgroupWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    make("");
    begin(CgroupWatch::kMaxDirectories);
  }

  void begin(size_t bound) {
    auto watch = CgroupWatch::open(bound);
    ASSERT_TRUE(watch) << watch.error().message();
    watch_ = std::move(*watch);
  }

  void make(const std::string& child) const {
    fs::create_directories(root_ + child);
    join(child);
  }
  void join(const std::string& child) const {
    for (const char* file : {"/cgroup.events", "/cgroup.procs"}) std::ofstream(root_ + child + file) << "1\n";
  }

  // Works until `wanted` was looked at; false when nothing happens for five seconds.
  bool looks_at(const std::string& wanted, uint32_t target = 3) {
    for (;;) {
      std::array<pollfd, 2> fds{{{watch_->events_fd(), POLLIN, 0}, {watch_->timer_fd(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), 5000) <= 0) return false;
      std::set<std::string> seen;
      lost_ = watch_->work([&](uint32_t who, const std::string& directory) {
        if (who == target) seen.insert(directory);
        return inhabited_;
      }) || lost_;
      if (seen.contains(root_ + wanted)) return true;
    }
  }
  void settle() {
    while (is_readable(watch_->events_fd())) (void)watch_->work([](uint32_t, const std::string&) { return false; });
  }
  static bool is_readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 0) == 1;
  }

  TestDirectory directory_;
  const std::string& root_ = directory_.path();
  std::unique_ptr<CgroupWatch> watch_;
  bool inhabited_ = false;
  bool lost_ = false;
};

TEST_F(CgroupWatchTest, JoiningIsSeenInTheTargetAndInWhatWasThereBefore) {
  make("/a/b");
  watch_->add(3, root_);
  EXPECT_EQ(watch_->directories(), 3U);
  join("");
  EXPECT_TRUE(looks_at(""));
  join("/a/b");
  EXPECT_TRUE(looks_at("/a/b"));
}

TEST_F(CgroupWatchTest, DirectoriesMadeLaterAreWatchedWithWhatIsAlreadyInThem) {
  watch_->add(3, root_);
  make("/new/deep/er");
  EXPECT_TRUE(looks_at("/new/deep/er"));
  EXPECT_EQ(watch_->directories(), 4U);
  settle();
  join("/new/deep");
  EXPECT_TRUE(looks_at("/new/deep"));
}

TEST_F(CgroupWatchTest, InhabitedDirectoryIsLookedAtAgainAndAnEmptyOneIsNot) {
  make("/a");
  watch_->add(3, root_);
  inhabited_ = true;
  join("/a");
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(looks_at("/a")) << "without a further event";
  inhabited_ = false;
  EXPECT_TRUE(looks_at("/a"));
  settle();
  EXPECT_FALSE(is_readable(watch_->timer_fd()));
  inhabited_ = true;
  join("/a");
  EXPECT_TRUE(looks_at("/a"));
}

TEST_F(CgroupWatchTest, WatchesGoWithTheirDirectoriesAndTargets) {
  for (int i = 0; i < 50; ++i) make("/c" + std::to_string(i));
  watch_->add(3, root_);
  watch_->add(4, root_ + "/c7");
  EXPECT_EQ(watch_->directories(), 51U);
  for (int i = 10; i < 50; ++i) fs::remove_all(root_ + "/c" + std::to_string(i));
  settle();
  EXPECT_EQ(watch_->directories(), 11U);
  watch_->remove(3);
  EXPECT_EQ(watch_->directories(), 1U);
  join("/c7");
  EXPECT_TRUE(looks_at("/c7", 4));
  watch_->remove(4);
  EXPECT_EQ(watch_->directories(), 0U);
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(watch_->events_fd()));
  std::string line;
  while (std::getline(info, line)) EXPECT_FALSE(line.starts_with("inotify wd")) << line;
}

TEST_F(CgroupWatchTest, OneDirectoryOfTwoTargetsIsLookedAtForBoth) {
  watch_->add(3, root_);
  watch_->add(4, root_);
  join("");
  EXPECT_TRUE(looks_at("", 4));
  join("");
  EXPECT_TRUE(looks_at("", 3));
}

TEST_F(CgroupWatchTest, NumberOfDirectoriesIsBounded) {
  begin(3);
  for (int i = 0; i < 9; ++i) make("/c" + std::to_string(i));
  watch_->add(3, root_);
  EXPECT_EQ(watch_->directories(), 3U);
  make("/later");
  settle();
  EXPECT_EQ(watch_->directories(), 3U);
}

TEST_F(CgroupWatchTest, LostEventsAreSaidAndTheTreeIsWalkedAgain) {
  watch_->add(3, root_);
  make("/old");
  settle();
  unsigned limit = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
  ASSERT_GT(limit, 0U);
  for (unsigned i = 0; i < limit + 16; ++i) {  // two alternating: equal events in a row are merged
    const std::string path = root_ + (i % 2 == 0 ? "/cgroup.procs" : "/cgroup.events");
    ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  }
  fs::remove_all(root_ + "/old");
  make("/new");
  EXPECT_TRUE(looks_at("/new"));
  EXPECT_TRUE(lost_);
  EXPECT_EQ(watch_->directories(), 2U);
}

}  // namespace
}  // namespace tapdeck::kernel

#include "daemon/app/target_settings.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "daemon/base/test_directory.h"
#include "daemon/config/config.h"

namespace tapdeck::app {
namespace {

class TargetFile : public testing::Test {
 protected:
  TestDirectory directory_;
  std::filesystem::path file_ = directory_ / "targets.json";
};

TEST_F(TargetFile, KeepsEverySetting) {
  TargetSettings settings;
  settings.spec = {TargetKind::Pid, "42"};
  settings.title = "worker \"one\"";
  settings.session = "s";
  settings.mode = Mode::Hybrid;
  settings.sealed = true;
  settings.strict = true;
  settings.on_lease = LeasePolicy::Closed;
  settings.bypass = {"*.internal", "10.0.0.0/8:443"};
  settings.pid_start = 123456789012;
  TargetSettings plain;
  plain.spec = {TargetKind::Unit, "nginx"};
  ASSERT_TRUE(save_targets(file_, {{7, settings}, {9, plain}}));
  struct stat status{};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  const auto loaded = load_targets(file_);
  ASSERT_TRUE(loaded) << loaded.error().message();
  ASSERT_EQ(loaded->size(), 2U);
  const TargetSettings& back = loaded->at(7);
  EXPECT_EQ(back.spec, settings.spec);
  EXPECT_EQ(back.title, settings.title);
  EXPECT_EQ(back.session, settings.session);
  EXPECT_EQ(back.mode, settings.mode);
  EXPECT_TRUE(back.sealed && back.strict);
  EXPECT_EQ(back.on_lease, settings.on_lease);
  EXPECT_EQ(back.bypass, settings.bypass);
  EXPECT_EQ(back.pid_start, settings.pid_start);
  EXPECT_FALSE(loaded->at(9).mode);
  EXPECT_FALSE(loaded->at(9).session);
}

TEST_F(TargetFile, AMissingFileIsAnEmptyList) {
  EXPECT_TRUE(load_targets(file_).value().empty());
}

TEST_F(TargetFile, RefusesWhatItDidNotWrite) {
  for (const char* text :
       {"", "[]", "{}", R"({"version":2,"targets":[]})", R"({"version":1})", R"({"version":1,"targets":[1]})",
        R"({"version":1,"targets":[{"id":1}]})", R"({"version":1,"targets":[{"id":-1,"spec":"pid:1"}]})",
        R"({"version":1,"targets":[{"id":1,"spec":"pid:1","mode":"loud"}]})"}) {
    std::ofstream(file_) << text;
    const auto loaded = load_targets(file_);
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, Code::Corrupt) << text;
  }
}

TargetList known(std::initializer_list<TargetSpec> specs) {
  TargetList list;
  for (const TargetSpec& spec : specs) {
    const auto id = static_cast<uint32_t>(list.size() + 1);
    list[id].spec = spec;
  }
  return list;
}

TEST(FindIn, AnEmptyNameIsNobodysThoughOneHasNoTitle) {
  const TargetList list = known({{TargetKind::Unit, "nginx"}});
  EXPECT_EQ(find_in(list, "", "/sys/fs/cgroup").error().code, Code::InvalidArgument);
  EXPECT_EQ(find_in(list, "nginx", "/sys/fs/cgroup").value_or(0), 1U);
}

TEST(FindIn, ANameThatIsSomebodysIsNotAlsoReadAsAPath) {
  TargetList list = known({{TargetKind::Container, "0123"}, {TargetKind::Cgroup, "/web"}});
  list[1].title = "web";
  EXPECT_EQ(find_in(list, "web", "/sys/fs/cgroup").value_or(0), 1U);
  EXPECT_EQ(find_in(list, "/web", "/sys/fs/cgroup").value_or(0), 2U);
}

TEST(FindIn, ACgroupIsFoundHoweverItIsWritten) {
  const TargetList list = known({{TargetKind::Cgroup, "a/b"}, {TargetKind::Unit, "a"}, {TargetKind::Cgroup, "/a"}});
  for (const std::string name : {"a/b", "/a/b/", "cgroup:/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a/b", "/a/./b"}) {
    EXPECT_EQ(find_in(list, name, "/sys/fs/cgroup").value_or(0), 1U) << name;
  }
  EXPECT_EQ(find_in(list, "cgroup:/a", "/sys/fs/cgroup").value_or(0), 3U);
  EXPECT_EQ(find_in(list, "unit:a", "/sys/fs/cgroup").value_or(0), 2U);
  EXPECT_EQ(find_in(list, "a", "/sys/fs/cgroup").value_or(0), 2U) << "whose name it is goes before what it leads to";
  EXPECT_EQ(find_in(list, "b", "/sys/fs/cgroup").error().code, Code::NotFound);
}

TEST(ClosesOnLease, WhatTheTargetSaysGoesBeforeItsMode) {
  const config::Capture capture;
  TargetSettings settings;
  EXPECT_FALSE(closes_on_lease(settings, capture, Mode::Record));
  EXPECT_TRUE(closes_on_lease(settings, capture, Mode::Replay));
  settings.on_lease = LeasePolicy::Open;
  EXPECT_FALSE(closes_on_lease(settings, capture, Mode::Replay));
  settings.on_lease = LeasePolicy::Closed;
  EXPECT_TRUE(closes_on_lease(settings, capture, Mode::Record));
}

}  // namespace
}  // namespace tapdeck::app

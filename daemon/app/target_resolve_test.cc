// The tools are shell scripts in a directory put before PATH; the cgroups are real ones below a `tapdeck-test-PID`.
#include "daemon/app/target_resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

class Resolve : public testing::Test {
 protected:
  void SetUp() override {
    old_path_ = std::getenv("PATH");
    // Only /bin/sh, by its full name: the real podman and docker must not answer.
    ::setenv("PATH", tools_.path().c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", old_path_.c_str(), 1);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    for (auto it = cgroups_.rbegin(); it != cgroups_.rend(); ++it) ::rmdir(it->c_str());
  }
  void tool(const std::string& name, const std::string& script) const {
    const auto path = tools_.write(name, "#!/bin/sh\n" + script + "\n");
    ::chmod(path.c_str(), 0755);
  }
  // A process that sleeps in <mount>/tapdeck-test-PID/<below>; false when this host cannot.
  bool process_in(const std::string& below) {
    const auto mount = kernel::find_cgroup2_mount();
    if (!mount || ::geteuid() != 0) return false;
    mount_ = *mount;
    top_ = "/tapdeck-test-" + std::to_string(::getpid());
    std::string path = *mount + top_;
    cgroups_.push_back(path);
    for (const auto& part : std::filesystem::path(below)) cgroups_.push_back(path += "/" + part.string());
    for (const std::string& cgroup : cgroups_) ::mkdir(cgroup.c_str(), 0755);
    pid_ = ::fork();
    if (pid_ == 0) {
      for (;;) ::pause();
    }
    std::ofstream(path + "/cgroup.procs") << pid_;
    return true;
  }
  static std::string inspect(const std::string& name, pid_t pid, const std::string& status) {
    return R"(echo '[{"Id":")" + kId + R"(","Name":")" + name + R"(","State":{"Status":")" + status + R"(","Pid":)" +
           std::to_string(pid) + "}}]'";
  }

  std::string old_path_;
  TestDirectory tools_;
  std::string mount_;
  std::string top_;
  std::vector<std::string> cgroups_;
  pid_t pid_ = -1;
};

TEST_F(Resolve, FindsThePodmanContainersCgroupAboveItsProcess) {
  if (!process_in("libpod-" + kId + ".scope/init.scope")) GTEST_SKIP() << "needs root and cgroup2";
  tool("podman", "test \"$*\" = 'inspect --type container web' || exit 9\n" + inspect("web", pid_, "running"));
  const auto target = resolve_target({TargetKind::Container, "web"});
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->display, "container web (podman)");
  EXPECT_EQ(target->cgroup_path, mount_ + top_ + "/libpod-" + kId + ".scope");
  EXPECT_EQ(target->pid, pid_);
  EXPECT_FALSE(target->own_mounts);
}

TEST_F(Resolve, AsksDockerWhenPodmanDoesNotKnowTheName) {
  if (!process_in("docker/" + kId)) GTEST_SKIP() << "needs root and cgroup2";
  tool("podman", "echo 'Error: no such container' >&2; exit 125");
  tool("docker", inspect("/web", pid_, "running"));
  const auto target = resolve_target({TargetKind::Container, "web"});
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->display, "container web (docker)");
}

TEST_F(Resolve, NamesTheNearestContainers) {
  tool("podman", "case $1 in ps) echo webapp; echo database; echo wed;; *) echo 'no such object' >&2; exit 125;; esac");
  const auto target = resolve_target({TargetKind::Container, "web"});
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, Code::NotFound);
  EXPECT_EQ(target.error().detail,
            "no container 'web'; nearest: webapp, wed; a rootless one of a user is reached by --pid only");
}

TEST_F(Resolve, TellsAStoppedContainerFromAMissingOne) {
  tool("podman", inspect("web", 0, "exited"));
  const auto target = resolve_target({TargetKind::Container, "web"});
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, Code::Busy);
  EXPECT_THAT(target.error().detail, HasSubstr("exited"));
}

TEST_F(Resolve, SaysWhenThereIsNoContainerToolOrItFails) {
  EXPECT_EQ(resolve_target({TargetKind::Container, "web"}).error().code, Code::Unsupported);
  tool("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
  const auto target = resolve_target({TargetKind::Container, "web"});
  ASSERT_FALSE(target);
  EXPECT_THAT(target.error().detail, ::testing::StartsWith("docker said: Cannot connect"));
  EXPECT_THAT(target.error().detail, ::testing::Not(HasSubstr("no container")));
  tool("docker", "echo '{]'");
  EXPECT_EQ(resolve_target({TargetKind::Container, "web"}).error().code, Code::Protocol);
}

TEST_F(Resolve, GivesUpOnAToolThatHangs) {
  tool("podman", "exec /bin/sleep 1000");
  ResolveOptions options;
  options.deadline = std::chrono::milliseconds(50);
  const auto target = resolve_target({TargetKind::Container, "web"}, options);
  ASSERT_FALSE(target);
  EXPECT_THAT(target.error().detail, HasSubstr("podman: no answer in time"));
}

TEST_F(Resolve, TakesAUnitsCgroupFromSystemd) {
  if (!process_in("nginx.service")) GTEST_SKIP() << "needs root and cgroup2";
  tool("systemctl",
       "for last; do :; done; test \"$last\" = nginx.service || exit 9\n"
       "echo MainPID=" +
           std::to_string(pid_) +
           "; echo LoadState=loaded; echo ActiveState=active\n"
           "echo ControlGroup=" +
           top_ + "/nginx.service");
  const auto target = resolve_target({TargetKind::Unit, "nginx"});
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->cgroup_path, mount_ + top_ + "/nginx.service");
  EXPECT_EQ(target->pid, pid_);
}

TEST_F(Resolve, TellsUnitsThatAreMissingFromThoseThatAreStopped) {
  tool("systemctl",
       "case $1 in list-units) echo 'nginx.service loaded active running web server';;"
       "*) echo LoadState=not-found; echo ControlGroup=;; esac");
  const auto missing = resolve_target({TargetKind::Unit, "ngnix"});
  EXPECT_EQ(missing.error().code, Code::NotFound);
  EXPECT_THAT(missing.error().detail, HasSubstr("nearest: nginx.service"));
  EXPECT_THAT(missing.error().detail, HasSubstr("user's manager"));
  tool("systemctl", "echo LoadState=loaded; echo ActiveState=inactive; echo ControlGroup=; echo MainPID=0");
  EXPECT_EQ(resolve_target({TargetKind::Unit, "nginx"}).error().code, Code::Busy);
  tool("systemctl", "echo 'System has not been booted with systemd' >&2; exit 1");
  EXPECT_EQ(resolve_target({TargetKind::Unit, "nginx"}).error().code, Code::Unsupported);
}

TEST_F(Resolve, APatternIsNoUnitThoughSystemdWouldTakeOneThatFits) {
  tool("systemctl", "echo LoadState=loaded; echo ActiveState=active; echo ControlGroup=/; echo MainPID=1");
  for (const char* pattern : {"foo@*", "ngin?", "[a-z]*.service"}) {
    const auto target = resolve_target({TargetKind::Unit, pattern});
    ASSERT_FALSE(target) << pattern;
    EXPECT_EQ(target.error().code, Code::InvalidArgument);
    EXPECT_THAT(target.error().detail, HasSubstr("is a pattern"));
  }
}

TEST_F(Resolve, FindsACgroupByFullOrRelativePath) {
  if (!process_in("jobs")) GTEST_SKIP() << "needs root and cgroup2";
  for (const std::string& path : {mount_ + top_ + "/jobs", top_ + "/jobs", top_.substr(1) + "/jobs/"}) {
    const auto target = resolve_target({TargetKind::Cgroup, path});
    ASSERT_TRUE(target) << target.error().message();
    EXPECT_EQ(target->cgroup_path, mount_ + top_ + "/jobs");
    EXPECT_EQ(target->pid, pid_);
  }
  const auto near = resolve_target({TargetKind::Cgroup, top_ + "/jobz"});
  EXPECT_EQ(near.error().code, Code::NotFound);
  EXPECT_THAT(near.error().detail, HasSubstr("nearest: jobs"));
}

TEST_F(Resolve, FindsAPidsCgroupAndRefusesWhatIsNotAPid) {
  if (!process_in("jobs")) GTEST_SKIP() << "needs root and cgroup2";
  const auto target = resolve_target({TargetKind::Pid, std::to_string(pid_)});
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->cgroup_path, mount_ + top_ + "/jobs");
  EXPECT_THAT(target->display, HasSubstr("pid " + std::to_string(pid_) + " ("));
  for (const char* text : {"", "0", "-1", "12x", "99999999999"}) {
    EXPECT_EQ(resolve_target({TargetKind::Pid, text}).error().code, Code::InvalidArgument) << text;
  }
  EXPECT_EQ(resolve_target({TargetKind::Pid, "2147483646"}).error().code, Code::NotFound);
}

TEST_F(Resolve, NeverTakesTheCgroupTapdeckItselfIsIn) {
  const auto own = resolve_target({TargetKind::Pid, std::to_string(::getpid())});
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().code, Code::Unsupported);
  EXPECT_EQ(resolve_target({TargetKind::Cgroup, "/"}).error().code, Code::Unsupported);
  EXPECT_EQ(resolve_target({TargetKind::Cgroup, "a/../../b"}).error().code, Code::InvalidArgument);
}

TEST_F(Resolve, ChecksInterfacesInOurOwnNetworkNamespace) {
  const auto target = resolve_target({TargetKind::Interface, "lo"});
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->interface, "lo");
  EXPECT_THAT(target->cgroup_path, IsEmpty());
  EXPECT_THAT(resolve_target({TargetKind::Interface, "l0"}).error().detail, HasSubstr("nearest: lo"));
}

TEST(TargetSpec, ReadsWhatItPrints) {
  const TargetSpec spec{TargetKind::Cgroup, "/a:b"};
  EXPECT_EQ(spec.to_string(), "cgroup:/a:b");
  EXPECT_EQ(TargetSpec::parse("cgroup:/a:b"), spec);
  for (const char* text : {"", "web", "container:", "thing:web"}) EXPECT_FALSE(TargetSpec::parse(text)) << text;
}

TEST(TargetSpec, OfACgroupIsTheSameHoweverItIsWritten) {
  const TargetSpec one{TargetKind::Cgroup, "/a/b"};
  const auto same = [&](TargetKind kind, const std::string& name) {
    return is_same(one, {kind, name}, "/sys/fs/cgroup/unified");
  };
  for (const char* name : {"/a/b", "a/b", "a/b/", "/a/x/../b", "//a//b", "/sys/fs/cgroup/unified/a/b/"}) {
    EXPECT_TRUE(same(TargetKind::Cgroup, name)) << name;
  }
  for (const char* name : {"/a", "b", "/a/b/c", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/a/b", "/A/b"}) {
    EXPECT_FALSE(same(TargetKind::Cgroup, name)) << name;
  }
  EXPECT_FALSE(same(TargetKind::Unit, "/a/b"));
  EXPECT_FALSE(is_same({TargetKind::Unit, "a"}, {TargetKind::Unit, "a/"}, "/sys/fs/cgroup"));
  EXPECT_EQ(spec_of(TargetKind::Cgroup, "/a/x/../b/").name, "/a/b");
  EXPECT_EQ(spec_of(TargetKind::Container, "b/").name, "b/");
}

TEST(NearestNames, OffersSlipsAndPartsButNotStrangers) {
  EXPECT_THAT(nearest_names("nginx", {"postgres", "ngnix", "my-nginx-1", "redis"}), ElementsAre("my-nginx-1", "ngnix"));
}

}  // namespace
}  // namespace tapdeck::app

// podman and docker are scripts, alone on PATH; where a container's cgroup is, target_resolve_test.cc shows.
#include "daemon/app/container_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Lookup : public testing::Test {
 protected:
  void SetUp() override {
    old_path_ = std::getenv("PATH");
    ::setenv("PATH", (directory_ / "bin").c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", old_path_.c_str(), 1); }
  void tool(const std::string& name, const std::string& script) const {
    const auto path = directory_.write(
        "bin/" + name, "#!/bin/sh\necho \"" + name + " $*\" >>'" + directory_.path() + "/asked'\n" + script + "\n");
    ::chmod(path.c_str(), 0755);
  }
  [[nodiscard]] std::vector<std::string> asked() const {
    std::vector<std::string> lines;
    std::ifstream in(directory_ / "asked");
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  static std::map<std::string, Error> errors(ContainerLookup& lookup, const std::vector<std::string>& names,
                                             ContainerLookup::Urgent urgent = ContainerLookup::Urgent::No) {
    std::map<std::string, Error> out;
    const auto take = [&](const std::string& name, const Result<ResolvedTarget>& found, const std::string&) {
      EXPECT_FALSE(found) << name;
      EXPECT_FALSE(out.contains(name)) << "answered twice: " << name;
      if (!found) out[name] = found.error();
    };
    lookup.ask(names, take, urgent);
    return out;
  }
  static std::string stopped(const std::string& name) {
    return R"(echo '[{"Id":"0123456789abcdef","Name":")" + name + R"(","State":{"Status":"exited","Pid":0}}]')";
  }

  std::string old_path_;
  TestDirectory directory_;
};

TEST_F(Lookup, TellsWhatIsStoppedFromWhatIsMissingInOneQuestionARuntime) {
  tool("podman", stopped("web") + "; echo 'Error: no such container db' >&2; exit 125");
  tool("docker", "echo '[]'; echo 'Error: No such container: web' >&2; exit 1");
  ContainerLookup lookup({});
  const auto said = errors(lookup, {"web", "db", "-x"});
  EXPECT_EQ(said.at("web").code, Code::Busy);
  EXPECT_EQ(said.at("db").code, Code::NotFound);
  EXPECT_THAT(said.at("db").detail, HasSubstr("--pid"));
  EXPECT_EQ(said.at("-x").code, Code::InvalidArgument);
  EXPECT_THAT(asked(), ElementsAre("podman inspect --type container web db", "docker inspect --type container web db"));
}

TEST_F(Lookup, ARuntimeThatDidNotAnswerIsLeftOutForAWhile) {
  tool("podman", "echo 'no such container' >&2; exit 125");
  tool("docker", "exec /bin/sleep 1000");
  ContainerLookup lookup({.deadline = std::chrono::minutes(10)}, {{"docker", std::chrono::milliseconds(200)}});
  EXPECT_THAT(errors(lookup, {"web"}).at("web").detail, HasSubstr("docker: no answer in time"));
  EXPECT_THAT(errors(lookup, {"web"}).at("web").detail, HasSubstr("docker gave no answer in time and is not asked"));
  EXPECT_THAT(asked(), testing::Contains("podman inspect --type container web").Times(2));
  EXPECT_THAT(asked(), testing::Contains("docker inspect --type container web").Times(1));
}

TEST_F(Lookup, WhatASilentRuntimeMayHaveIsNotKnownAndWhenUrgentItIsAskedLast) {
  tool("podman", "exec /bin/sleep 1000");
  tool("docker", "echo 'no such container' >&2; exit 1");
  ContainerLookup lookup({.deadline = std::chrono::minutes(10)}, {{"podman", std::chrono::milliseconds(200)}});
  EXPECT_EQ(errors(lookup, {"web"}).at("web").code, Code::Timeout);
  EXPECT_EQ(errors(lookup, {"web"}).at("web").code, Code::Timeout) << "not asked";
  EXPECT_EQ(errors(lookup, {"web"}, ContainerLookup::Urgent::Yes).at("web").code, Code::Timeout);
  const std::string podman = "podman inspect --type container web";
  const std::string docker = "docker inspect --type container web";
  EXPECT_THAT(asked(), ElementsAre(podman, docker, docker, docker, podman));
}

TEST_F(Lookup, SaysThatThereIsNoRuntime) {
  ContainerLookup lookup({});
  EXPECT_EQ(errors(lookup, {"web"}).at("web").code, Code::Unsupported);
}

}  // namespace
}  // namespace tapdeck::app

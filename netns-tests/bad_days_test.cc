// Bad days of the real binary: what is missing, taken, full or broken is named in one clear line, with a status that is
// not zero or a service that goes on degraded as documented.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>

#include <fstream>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// A user without privileges, with a home and a program of their own.
class Anybody {
 public:
  explicit Anybody(Topology& lab) : lab_(lab) {
    std::filesystem::create_directory(home());
    std::filesystem::permissions(home(), std::filesystem::perms(0777));
    write_file(proxy_config(), "[proxy]\nlisten = \"127.0.0.1:8888\"\n");
  }
  [[nodiscard]] std::filesystem::path home() const { return place_ / "home"; }
  [[nodiscard]] std::string proxy_config() const { return place_ / "proxy.toml"; }
  [[nodiscard]] ProcessOptions tapdeck(const std::vector<std::string>& words) const {
    std::vector<std::string> argv = {program_};
    argv.insert(argv.end(), words.begin(), words.end());
    return {.argv = argv,
            .netns = &lab_.gw(),
            .env = {{"XDG_RUNTIME_DIR", home()}, {"TAPDECK_STATE_DIR", home() / "state"}},
            .user = 65534};
  }

 private:
  Topology& lab_;
  TempDir place_;
  std::filesystem::path program_ = tapdeck_for_anyone(place_);
};

class BadDay : public ::testing::Test {
 protected:
  // `tapdeck WORDS` in gw with a state directory of this test's own; `before` are shell commands in the mount namespace
  // that it gets.
  [[nodiscard]] Output tapdeck(const std::string& words, const std::string& before = "true") const {
    const std::string command =
        before + " && exec " + tapdeck_binary().string() + " " + words + " --state-dir " + state().string();
    return run_to_end({.argv = {"unshare", "-m", "--propagation", "private", "sh", "-c", command},
                       .netns = &lab_.gw(),
                       .env = {{"RUNTIME_DIRECTORY", (lab_.directory() / "run").string()}}});
  }
  [[nodiscard]] Output run_true(const std::string& before, const std::string& flags = "") const {
    const std::string command = before + " && exec " + tapdeck_binary().string() + " run --state-dir " +
                                state().string() + " " + flags + " -- true";
    return run_to_end(
        {.argv = {"unshare", "-m", "--propagation", "private", "sh", "-c", command}, .netns = &lab_.gw()});
  }
  [[nodiscard]] std::filesystem::path state() const { return lab_.directory() / "state"; }
  static size_t lines(const std::string& text) { return static_cast<size_t>(std::ranges::count(text, '\n')); }

  Topology lab_;
};

TEST_F(BadDay, WithoutCgroup2RunTakesANamespaceAndSaysWhy) {
  const std::string gone = "umount -l " + cgroup2_mount().string();
  const auto output = run_true(gone);
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_THAT(output.err, HasSubstr("cgroup2"));
  EXPECT_THAT(output.err, HasSubstr("--capture netns"));
  const auto asked_for = run_true(gone, "--capture cgroup");
  EXPECT_EQ(asked_for.status, 125);
  EXPECT_THAT(asked_for.err, HasSubstr("cgroup2"));
  EXPECT_EQ(lines(asked_for.err), 1U) << asked_for.err;
}

TEST_F(BadDay, WithoutCgroup2DoctorNamesWhatStillWorks) {
  const auto output = tapdeck("doctor", "umount -l " + cgroup2_mount().string());
  EXPECT_THAT(output.out, HasSubstr("FAIL  cgroup2"));
  EXPECT_THAT(output.out, HasSubstr("ok    tc_capture"));
  EXPECT_EQ(output.status, 0) << "one path is left";
}

TEST_F(BadDay, WithoutKernelTypeInformationCaptureWorks) {
  const auto output = run_true("mount -t tmpfs none /sys/kernel/btf");
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_THAT(tapdeck("doctor", "mount -t tmpfs none /sys/kernel/btf").out, HasSubstr("FAIL  btf"));
}

TEST_F(BadDay, AnOldKernelIsNamed) {
  const auto output = run_to_end({.argv = {"setarch", "--uname-2.6", tapdeck_binary(), "doctor"}, .netns = &lab_.gw()});
  EXPECT_THAT(output.out, testing::ContainsRegex("FAIL  kernel: Linux 2\\.6\\.[^,]*, older than 5\\.15"));
}

// There the pins that keep a fail-closed target closed go with the last process, and a kill would open it.
TEST_F(BadDay, APrivateMountNamespaceWithoutTheHostsBpffsIsToldOf) {
  const std::string run = tapdeck_binary().string() + " run --state-dir " + state().string();
  // To be replayed, though nothing was recorded.
  const std::string create =
      tapdeck_binary().string() + " session create default --state-dir " + state().string() + " >/dev/null";
  const std::string both = "umount -l /sys/fs/bpf 2>/dev/null; " + run + " -- true && " + create + " && exec " + run +
                           " --mode replay -- true";
  // The shell in between is the first process, with a mount namespace that it does not share.
  const auto output = run_to_end({.argv = {"unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c",
                                           "unshare -m --propagation private sh -c \"$0\"; exit $?", both},
                                  .netns = &lab_.gw()});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_THAT(output.err, HasSubstr("capture.pins_private"));
  EXPECT_THAT(run_true("true").err, ::testing::Not(HasSubstr("capture.pins_private"))) << "an open target pins nothing";
}

TEST_F(BadDay, WithoutPrivilegesWhatIsMissingIsNamedAndNothingIsMade) {
  const Anybody anybody(lab_);
  const std::vector<std::string> serve = {"serve"};
  const std::vector<std::string> run = {"run", "--capture", "cgroup", "--", "true"};
  const std::vector<std::string> run_with_proxy = {"run", "--config", anybody.proxy_config(), "--capture", "cgroup",
                                                   "--",  "true"};
  for (const auto& [words, status] : {std::pair{serve, 1}, std::pair{run, 125}, std::pair{run_with_proxy, 125}}) {
    const auto output = run_to_end(anybody.tapdeck(words));
    EXPECT_EQ(output.status, status) << output.err;
    EXPECT_THAT(output.err, HasSubstr("CAP_BPF"));
    EXPECT_THAT(output.err, HasSubstr("one command can be captured (tapdeck run --capture netns)"));
    EXPECT_TRUE(std::filesystem::is_empty(anybody.home())) << run_to_end({"find", anybody.home()}).out;
  }
}

TEST_F(BadDay, WithoutPrivilegesClientsThatAreGivenAProxyAreServed) {
  const Anybody somebody(lab_);
  const std::string config = somebody.proxy_config();
  const auto anybody = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--config", config});
    return somebody.tapdeck(words);
  };
  const auto ask = [&] {
    return run_to_end({.argv = {"curl", "-sS", "-x", "http://127.0.0.1:8888", std::string("http://") + kOriginV4 + "/"},
                       .netns = &lab_.gw()})
        .out;
  };
  Process daemon(anybody({"serve"}));
  {
    ScriptedOrigin origin(lab_.origin(), 80, std::nullopt, [](Peer& peer) {
      if (!peer.read_request().empty()) peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    });
    ASSERT_TRUE(eventually([&] { return ask() == "first"; })) << daemon.err();
  }
  EXPECT_EQ(run_to_end(anybody({"mode", "set", "replay"})).status, 0);
  EXPECT_EQ(ask(), "first");
  EXPECT_THAT(daemon.err(), HasSubstr("only clients of proxy.listen are served"));
  EXPECT_THAT(run_to_end(anybody({"attach", "--interface", kClientSide})).err, HasSubstr("CAP_BPF"));
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait(std::chrono::seconds(20)), 0) << daemon.err();
  write_file(config, "[proxy]\nlisten = \"127.0.0.1:8888\"\n[[targets]]\nname = \"a\"\ninterface = \"lo\"\n");
  const auto refused = run_to_end(anybody({"serve"}));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("whose connections would pass unseen"));
}

TEST_F(BadDay, ATakenAdminPortIsNamedBeforeAnythingIsCaptured) {
  ScriptedOrigin squatter(lab_.gw(), 9909, std::nullopt, [](Peer&) {});
  const auto output = tapdeck("serve");
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("127.0.0.1:9909"));
}

TEST_F(BadDay, ATakenProxyPortIsNamedBeforeAnythingIsCaptured) {
  ScriptedOrigin squatter(lab_.gw(), 8888, std::nullopt, [](Peer&) {});
  const auto config = lab_.directory() / "taken.toml";
  write_file(config, std::string("[proxy]\nlisten = \"127.0.0.1:8888\"\n[[targets]]\nname = \"a\"\ninterface = \"") +
                         kClientSide + "\"\n");
  const auto output = tapdeck("serve --config " + config.string());
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("127.0.0.1:8888 (proxy.listen)"));
  EXPECT_THAT(output.err, testing::Not(HasSubstr("target.attached")));
}

TEST_F(BadDay, ACaThatCannotBeUsedIsRefusedByName) {
  ASSERT_EQ(tapdeck("ca init").status, 0);
  const auto key = state() / "ca-key.pem";
  std::filesystem::permissions(key, std::filesystem::perms(0644));
  auto output = tapdeck("serve");
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("ca-key.pem"));
  EXPECT_EQ(run_true("true").status, 125) << "run, the same";

  write_file(key, read_file(lab_.leaf().key));
  std::filesystem::permissions(key, std::filesystem::perms(0600));
  output = tapdeck("serve");
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("ca-key.pem"));

  std::filesystem::remove(key);
  output = tapdeck("serve");
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("ca-key.pem"));
}

TEST_F(BadDay, AStoreThatCannotBeRepairedIsRefusedByName) {
  ASSERT_EQ(tapdeck("session create s").status, 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state() / "store")) {
    if (!entry.is_regular_file() || entry.path().filename() == "match.secret") continue;
    std::ofstream(entry.path(), std::ios::trunc) << "not a database";
  }
  const auto output = tapdeck("serve");
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr((state() / "store").string()));
}

TEST_F(BadDay, AConfigurationThatIsNotThereIsNamed) {
  const auto output = tapdeck("serve --config " + (lab_.directory() / "none.toml").string());
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("none.toml"));
  EXPECT_EQ(lines(output.err), 1U) << output.err;
}

// A stack that no address space has is refused like a thread too many.
TEST_F(BadDay, WithoutThreadsItSaysSoInOneLineAndDoesNotStart) {
  const Output ran = tapdeck("run -- true", "ulimit -s 68719476736");
  EXPECT_EQ(ran.status, 125);
  EXPECT_THAT(ran.err, testing::StartsWith("tapdeck: cannot start a thread: "));
  EXPECT_THAT(ran.err, HasSubstr("raise pids.max"));
  const Output served = tapdeck("serve", "ulimit -s 68719476736");
  EXPECT_EQ(served.status, 1);
  EXPECT_THAT(served.err, HasSubstr("cannot start a thread: "));
}

TEST_F(BadDay, WithoutDescriptorsItSaysSoAndNothingOfPrivileges) {
  for (int limit = 12; limit <= 40; limit += 4) {
    const Output served = tapdeck("serve", "ulimit -n " + std::to_string(limit));
    EXPECT_EQ(served.status, 1) << limit << ": " << served.err;
    EXPECT_THAT(served.err, testing::ContainsRegex("Too many open files|Bad file descriptor")) << limit;
    EXPECT_THAT(served.err, testing::Not(HasSubstr("privileges"))) << limit;
  }
}

// A file system of a few MiB over a directory, gone with the object.
class SmallDisk {
 public:
  explicit SmallDisk(std::filesystem::path where) : where_(std::move(where)) {
    std::filesystem::create_directories(where_);
    EXPECT_EQ(::mount("tapdeck-test", where_.c_str(), "tmpfs", 0, "size=24m"), 0);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() { EXPECT_EQ(::umount2(where_.c_str(), MNT_DETACH), 0); }

 private:
  std::filesystem::path where_;
};

TEST(FullDisk, TrafficGoesOnLossesAreToldAndRecordingResumesWithSpace) {
  Topology lab;
  const SmallDisk disk(lab.directory() / "daemon/state");
  DaemonProcess daemon(lab);
  Cgroup cgroup("client");
  Process resident({.argv = {"sleep", "infinity"}, .netns = &lab.client(), .cgroup = &cgroup});
  daemon.attach_cgroup(cgroup);
  ScriptedOrigin origin(lab.origin(), 80, std::nullopt, [](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      if (!peer.stream().send(ok_response(std::string(100'000, 'd') + target_of(request)))) return;
    }
  });
  const auto filler = daemon.state() / "filler";
  ASSERT_NE(run_to_end({"sh", "-c", "head -c 100M /dev/zero > " + filler.string()}).status, 0) << "it must be full";
  int i = 0;
  const auto ask = [&] {
    const auto output = raw_tcp({.lab = lab, .cgroup = &cgroup}, kOriginV4, 80, get_request("/" + std::to_string(++i)));
    return parse_raw(output.out).body.size();
  };
  EXPECT_TRUE(eventually(30s, [&] {
    EXPECT_GT(ask(), 100'000U) << "traffic comes first";
    return daemon.metric("tapdeck_recordings_total", {"result=\"dropped\""}) > 0;
  }));
  EXPECT_THAT(daemon.log(), HasSubstr("recording.lost"));
  for (int more = 0; more < 4; ++more) EXPECT_GT(ask(), 100'000U);
  EXPECT_THAT(daemon.log(), testing::Not(HasSubstr("damaged")));
  EXPECT_TRUE(eventually(5s, [&] {
    return daemon.metric("tapdeck_recordings_incomplete_total", {"reason=\"store_error\""}) ==
           daemon.metric("tapdeck_recordings_total", {"result=\"dropped\""});
  })) << "each once, and no other reason";
  EXPECT_EQ(daemon.get("/healthz").status, 200);
  std::filesystem::remove(filler);
  const auto before = daemon.metric("tapdeck_requests_total", {"outcome=\"recorded\""});
  EXPECT_TRUE(eventually(20s, [&] {
    ask();
    return daemon.metric("tapdeck_requests_total", {"outcome=\"recorded\""}) > before;
  })) << daemon.log();
}

TEST(FullDisk, AStartWithTargetsIsReadOnlyAndGoesOn) {
  Topology lab;
  const SmallDisk disk(lab.directory() / "daemon/state");
  const std::string named =
      "name = \"later\"\ncgroup = \"" + (cgroup2_mount() / "tapdeck-test-later").string() + "\"\n";
  DaemonProcess daemon(lab, {.sections = {{"[targets]", named}}});
  const auto fill = [&](const std::string& filler) {
    const std::string path = (daemon.state() / filler).string();
    ASSERT_NE(run_to_end({"sh", "-c", "head -c 100M /dev/zero > " + path}).status, 0) << "it must be full";
  };
  // The first start gives the store's reserve up, the second has nothing left.
  for (const char* filler : {"filler", "filler-2"}) {
    EXPECT_EQ(daemon.stop(), 0);
    fill(filler);
    daemon.start();
    EXPECT_THAT(daemon.must_cli({"targets"}), HasSubstr("later"));
  }
  EXPECT_THAT(daemon.log(), HasSubstr("store.read_only"));
}

TEST(GoneState, RecordingsAreLostAndSaidToBeUntilItIsBack) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    while (!peer.read_request().empty()) peer.stream().send(ok_response("x"));
  });
  const auto ask = [&] { return raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).status; };
  const DaemonProcess& daemon = captured.daemon();
  const auto moved = daemon.state().string() + ".moved";
  ASSERT_EQ(ask(), 0);
  std::filesystem::rename(daemon.state(), moved);
  EXPECT_TRUE(eventually(10s, [&] {
    EXPECT_EQ(ask(), 0) << "traffic comes first";
    return daemon.metric("tapdeck_recordings_incomplete_total", {"reason=\"store_error\""}) > 0;
  }));
  EXPECT_THAT(daemon.log(), HasSubstr("store.gone"));
  const HttpReply ready = daemon.get("/readyz");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("removed or renamed"));
  std::filesystem::rename(moved, daemon.state());
  EXPECT_EQ(daemon.get("/readyz").status, 200);
  const auto before = daemon.metric("tapdeck_recordings_total", {"result=\"complete\""});
  EXPECT_TRUE(eventually(10s, [&] {
    EXPECT_EQ(ask(), 0);
    return daemon.metric("tapdeck_recordings_total", {"result=\"complete\""}) > before;
  }));
}

}  // namespace
}  // namespace tapdeck::lab

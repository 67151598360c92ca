// A real podman container with a real client that knows nothing: attach, record, origin off, replay; restarts; detach.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/container.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

class Podman : public ::testing::Test {
 protected:
  [[nodiscard]] Output ask() const {
    return container_.exec({"curl", "-sS", "-i", "-m", "20", "https://origin.test/a.json"});
  }
  // "7" of `tapdeck attach --container`.
  void attach() { daemon_.must_cli({"attach", "--container", container_.name()}); }

  Topology lab_;
  NginxOrigin origin_{lab_, {{"a.json", "{\"a\": 1}\n"}}};
  Container container_{lab_};
  DaemonProcess daemon_{lab_, {.env = container_environment()}};
};

TEST_F(Podman, RunningContainerIsRecordedAndReplayedWithTheOriginGone) {
  EXPECT_EQ(ask().status, 60) << "the lab's CA is not in the image: an untouched client must refuse";
  attach();
  const auto recorded = ask();
  ASSERT_EQ(recorded.status, 0) << recorded.err;
  EXPECT_THAT(recorded.out, HasSubstr("{\"a\": 1}"));
  origin_.stop();
  daemon_.must_cli({"mode", "set", "replay", "--target", container_.name()});
  EXPECT_EQ(ask().out, recorded.out);
}

// A bridge with IPv6 too, which podman's own has not; gone with the object.
class DualStackNetwork {
 public:
  explicit DualStackNetwork(Topology& lab) : lab_(lab) {
    remove();  // of a test that was killed
    const auto made =
        podman({"network", "create", "--ipv6", "--subnet", "10.99.77.0/24", "--subnet", "fd77:99::/64", "td-lab-dual"});
    EXPECT_EQ(made.status, 0) << made.err;
  }
  DualStackNetwork(const DualStackNetwork&) = delete;
  DualStackNetwork& operator=(const DualStackNetwork&) = delete;
  ~DualStackNetwork() { remove(); }

 private:
  void remove() const { ignore_status(podman({"network", "rm", "-f", "td-lab-dual"})); }
  [[nodiscard]] Output podman(std::vector<std::string> words) const {
    words.insert(words.begin(), "podman");
    return run_to_end({.argv = words, .netns = &lab_.gw(), .env = container_environment()});
  }

  Topology& lab_;
};

TEST_F(Podman, EveryClientInItSeesTheSameAnswerTwiceOverBothFamilies) {
  const DualStackNetwork network(lab_);
  const Container client(lab_, {.role = "d", .flags = {"--network", "td-lab-dual"}});
  const std::string python =
      "import requests, sys; r = requests.get(sys.argv[1]); print(r.status_code, r.headers, r.text)";
  const std::vector<std::vector<std::string>> clients = {
      {"curl", "-sS", "-i", "-m", "20"}, {"wget", "-q", "-S", "-T", "20", "-O", "-"}, {"python3", "-c", python}};
  const auto ask_all = [&] {
    std::string all;
    for (const auto* host : {"v4.origin.test", "v6.origin.test"}) {
      for (auto argv : clients) {
        argv.push_back(std::string("https://") + host + "/a.json");
        const auto output = client.exec(argv);
        EXPECT_EQ(output.status, 0) << argv[0] << " " << host << ": " << output.err;
        EXPECT_THAT(output.out, HasSubstr("{\"a\": 1}")) << argv[0] << " " << host;
        all += output.out + output.err;
      }
    }
    return all;
  };
  daemon_.must_cli({"attach", "--container", client.name()});
  const auto recorded = ask_all();
  EXPECT_EQ(daemon_.metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 6.0);
  origin_.stop();
  daemon_.must_cli({"mode", "set", "replay", "--target", client.name()});
  EXPECT_EQ(ask_all(), recorded);
}

TEST_F(Podman, TargetSurvivesARestartOfItsContainer) {
  attach();
  ASSERT_EQ(ask().status, 0);
  container_.podman({"restart", "-t", "0"});
  EXPECT_TRUE(eventually(10s, [&] { return ask().status == 0; })) << ask().err;
  EXPECT_GE(daemon_.metric("tapdeck_requests_total", {"outcome=\"recorded\""}), 2.0);
}

TEST_F(Podman, DetachLeavesNoMountAndTheClientRefusesAgain) {
  attach();
  ASSERT_EQ(ask().status, 0);
  EXPECT_THAT(daemon_.must_cli({"targets"}), HasSubstr(container_.name()));
  const auto mounts = [&] { return container_.exec({"cat", "/proc/self/mounts"}).out; };
  const auto during = mounts();
  daemon_.must_cli({"detach", container_.name()});
  EXPECT_NE(mounts(), during);
  EXPECT_THAT(mounts(), ::testing::Not(HasSubstr("ca-certificates.crt")));
  EXPECT_EQ(ask().status, 60);
}

TEST_F(Podman, TheCgroupAboveItComesOffBeforeOrAfterIt) {
  const auto path = container_.podman({"inspect", "-f", "{{.State.CgroupPath}}"}).out;
  // "/…/libpod-ID/container" below what attach takes: it is told in the same way.
  const std::string above = path.substr(0, path.find("/libpod-"));
  ASSERT_FALSE(above.empty()) << path;
  const auto mounts = [&] { return container_.exec({"cat", "/proc/self/mounts"}).out; };
  const auto before = mounts();
  for (const std::vector<std::string>& order :
       {std::vector{container_.name(), "cgroup:" + above}, std::vector{"cgroup:" + above, container_.name()}}) {
    attach();
    daemon_.must_cli({"attach", "--cgroup", above});
    ASSERT_EQ(ask().status, 0);
    daemon_.must_cli({"detach", order[0]});
    EXPECT_EQ(ask().status, 0) << "one is left";
    daemon_.must_cli({"detach", order[1]});
    EXPECT_EQ(ask().status, 60);
    EXPECT_EQ(mounts(), before);
  }
}

TEST_F(Podman, ABundleThatItsEnvironmentNamesIsCovered) {
  const Container named(
      lab_, {.role = "e",
             .flags = {"-e", "CURL_CA_BUNDLE=/opt/own.pem", "-e", "SSL_CERT_FILE=/opt/missing.pem"},
             .command = {"sh", "-c", "cp /etc/ssl/certs/ca-certificates.crt /opt/own.pem; exec sleep infinity"}});
  const auto ask_named = [&] { return named.exec({"curl", "-sS", "-m", "20", "https://origin.test/a.json"}).status; };
  ASSERT_TRUE(eventually(10s, [&] { return ask_named() == 60; }));
  daemon_.must_cli({"attach", "--container", named.name()});
  EXPECT_EQ(ask_named(), 0);
  EXPECT_THAT(daemon_.must_cli({"targets"}), HasSubstr("/opt/missing.pem (SSL_CERT_FILE): No such file"));
  daemon_.must_cli({"detach", named.name()});
  EXPECT_EQ(ask_named(), 60);
}

TEST_F(Podman, UnknownContainerIsAnErrorThatNamesTheNearest) {
  const std::string& name = container_.name();
  const auto output = daemon_.cli({"attach", "--container", name.substr(0, name.size() - 1)});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("nearest: " + name));
}

}  // namespace
}  // namespace tapdeck::lab

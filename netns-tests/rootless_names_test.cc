// Names in a `tapdeck run` of an ordinary user: asked outside, or answered from the recordings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "netns-tests/nginx_origin.h"
#include "netns-tests/rootless.h"
#include "netns-tests/scripted_dns.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// The resolver is on loopback, as systemd-resolved would be; resolv.conf names it.
class RootlessNames : public Rootless {
 protected:
  Output resolve_and_run(const std::vector<std::string>& flags, const std::vector<std::string>& command) {
    write_file(lab_.directory() / "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    ::chmod((lab_.directory() / "resolv.conf").c_str(), 0644);
    const std::string user = std::to_string(kOrdinary);
    std::vector<std::string> words = {
        "unshare",
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$0\" /etc/resolv.conf && mount --bind /dev/null /etc/hosts && exec setpriv --reuid " + user +
            " --regid " + user + " --clear-groups \"$@\"",
        lab_.directory() / "resolv.conf"};
    for (const std::string& word : argv(flags, command)) words.push_back(word);
    ProcessOptions options = seated({.lab = lab_}, words);
    options.env["HOME"] = home();
    return run_to_end(options);
  }
};

TEST_F(RootlessNames, AreAskedOutsideWhenRecordingAndAnsweredFromTapeInReplay) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  auto dns = std::make_unique<ScriptedDns>(lab_.client(), 53, [](const std::string& name) -> DnsAnswer {
    if (name == "v4.origin.test") return {.addresses = {kOriginV4}};
    return {.code = 3};
  });
  const std::vector<std::string> command = {"curl", "-sS", "https://v4.origin.test/a.txt"};
  const auto recorded = resolve_and_run({"--session", "s"}, command);
  ASSERT_EQ(recorded.out, "named") << recorded.err;
  EXPECT_THAT(recorded.err, HasSubstr("1 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  EXPECT_GT(dns->questions(), 0U);
  origin.stop();
  dns.reset();
  const std::vector<std::string> flags = {"--session", "s", "--mode", "replay", "--sealed", "--fail-on-miss"};
  const auto replayed = resolve_and_run(flags, command);
  EXPECT_EQ(replayed.out, "named") << replayed.err;
  EXPECT_EQ(replayed.status, 0) << replayed.err;
  const auto unknown = resolve_and_run(flags, {"curl", "-sS", "https://other.origin.test/a.txt"});
  EXPECT_EQ(unknown.status, 3) << unknown.out << unknown.err;
  EXPECT_THAT(unknown.err, HasSubstr("Could not resolve host: other.origin.test"));
  EXPECT_THAT(unknown.err, HasSubstr("tapdeck: refused: dns for other.origin.test, which is not on tape\n"));
}

TEST_F(RootlessNames, OfWhatARouteLetsThroughAreAskedOutsideInReplay) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  const ScriptedDns dns(lab_.client(), 53, [](const std::string& name) -> DnsAnswer {
    if (name == "live.origin.test") return {.addresses = {kOriginV4}};
    return {.code = 3};
  });
  write_file(lab_.directory() / "c.toml", "[[routes]]\nhost = \"live.origin.test\"\nmode = \"passthrough\"\n");
  ::chmod((lab_.directory() / "c.toml").c_str(), 0644);
  ASSERT_EQ(run({"--session", "s"}, {"curl", "-sS", "http://v4.origin.test/a.txt"}).out, "named");
  const std::vector<std::string> flags = {
      "--session", "s", "--mode", "replay", "--config", lab_.directory() / "c.toml", "--fail-on-miss"};
  const auto through = resolve_and_run(flags, {"curl", "-sS", "http://live.origin.test/a.txt"});
  EXPECT_EQ(through.out, "named") << through.err;
  EXPECT_EQ(through.status, 0) << through.err;
  EXPECT_EQ(resolve_and_run(flags, {"curl", "-sS", "http://dead.origin.test/a.txt"}).status, 3);
}

}  // namespace
}  // namespace tapdeck::lab

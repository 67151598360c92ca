// DNS of what is captured: seen in passing while it is recorded, answered from the recordings in replay,
// with the resolver gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_dns.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

DnsAnswer names_of_the_lab(const std::string& name) {
  if (name == "v4.origin.test") return {.addresses = {kOriginV4}};
  if (name == "both.origin.test") return {.addresses = {kOriginV4, kOriginV6}};
  if (name == "broken.origin.test") return {.code = 2};
  if (name == "silent.origin.test") return {.silent = true};
  return {.code = 3};
}

// The resolver is at the origin's address; in the namespace of clients resolv.conf names it, and no hosts file helps.
class Names : public ::testing::Test {
 protected:
  Names() {
    write_file(lab_.directory() / "resolv.conf",
               std::string("nameserver ") + kOriginV4 + "\noptions timeout:1 attempts:1\n");
    resolver_ = std::make_unique<ScriptedDns>(lab_.origin(), 53, names_of_the_lab);
  }
  [[nodiscard]] std::vector<std::string> resolving(const std::vector<std::string>& command) const {
    std::vector<std::string> out = {
        "unshare",
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$0\" /etc/resolv.conf && mount --bind /dev/null /etc/hosts && exec \"$@\"",
        lab_.directory() / "resolv.conf"};
    out.insert(out.end(), command.begin(), command.end());
    return out;
  }
  Output run(const std::vector<std::string>& flags, const std::vector<std::string>& command) {
    std::vector<std::string> argv = {tapdeck_binary(), "run",           "--state-dir",
                                     state(),          "--upstream-ca", lab_.ca().certificate()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return run_in({.lab = lab_}, resolving(argv));
  }
  Output tapdeck(std::vector<std::string> words) {
    words.insert(words.begin(), tapdeck_binary());
    words.insert(words.end(), {"--state-dir", state()});
    return run_to_end({words});
  }
  [[nodiscard]] std::string state() const { return lab_.directory() / "run-state"; }

  Topology lab_;
  std::unique_ptr<ScriptedDns> resolver_;
};

const std::vector<std::string> kReplay = {"--session", "s", "--mode", "replay", "--sealed", "--fail-on-miss"};
// Every kind of look-up that getaddrinfo shows, and the errors of those that fail.
constexpr const char* kLookups = R"(
import socket
for name in ('v4.origin.test', 'both.origin.test', 'absent.origin.test', 'broken.origin.test', 'silent.origin.test'):
  try: print(name, sorted(a[4][0] for a in socket.getaddrinfo(name, 443, 0, socket.SOCK_STREAM)))
  except socket.gaierror as e: print(name, e.args[0])
)";

TEST_F(Names, OfARunAreSeenInPassingAndAnsweredWithOriginAndResolverGone) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  const std::vector<std::string> command = {"curl", "-sS", "https://v4.origin.test/a.txt"};
  const auto recorded = run({"--session", "s"}, command);
  ASSERT_EQ(recorded.out, "named") << recorded.err;
  EXPECT_THAT(recorded.err, HasSubstr("1 recorded, 0 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  EXPECT_GT(resolver_->questions(), 0U);
  origin.stop();
  resolver_.reset();
  const auto replayed = run(kReplay, command);
  EXPECT_EQ(replayed.out, "named") << replayed.err;
  EXPECT_EQ(replayed.status, 0) << replayed.err;
  EXPECT_THAT(replayed.err, HasSubstr("0 recorded, 1 replayed, 0 missed, 0 tunnelled, 0 not captured"));
  EXPECT_EQ(run({"--session", "s", "--mode", "replay"}, command).out, "named") << "not sealed";
}

TEST_F(Names, ThatFailedFailAlikeAndCountAsKnown) {
  const auto recorded = run({"--session", "s"}, {"/usr/bin/python3", "-c", kLookups});
  ASSERT_THAT(recorded.out, HasSubstr(std::string("v4.origin.test ['") + kOriginV4 + "']\n")) << recorded.err;
  ASSERT_THAT(recorded.out, HasSubstr("absent.origin.test -2\nbroken.origin.test -3\nsilent.origin.test -3\n"));
  resolver_.reset();
  const auto replayed = run(kReplay, {"/usr/bin/python3", "-c", kLookups});
  EXPECT_EQ(replayed.out, recorded.out) << replayed.err;
  EXPECT_EQ(replayed.status, 0) << replayed.err;
}

TEST_F(Names, NeverAskedForAreMissesAndSaidWhoAsked) {
  ASSERT_EQ(run({"--session", "s"}, {"getent", "ahosts", "v4.origin.test"}).status, 0);
  resolver_.reset();
  const auto missed = run(kReplay, {"curl", "-sS", "https://other.origin.test/"});
  EXPECT_EQ(missed.status, 3) << missed.out << missed.err;
  EXPECT_THAT(missed.err, HasSubstr("Could not resolve host: other.origin.test"));
  EXPECT_THAT(missed.err, HasSubstr("dns for other.origin.test, which is not on tape"));
  EXPECT_THAT(missed.err, HasSubstr("curl"));
}

// Without a seal the way out is open, and what nobody recorded leads to an answer that says so.
TEST_F(Names, NeverAskedForAreAskedOfTheResolverWhereNothingIsSealed) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  ASSERT_EQ(run({"--session", "s"}, {"curl", "-sS", "https://v4.origin.test/a.txt"}).out, "named");
  const auto missed = run({"--session", "s", "--mode", "replay"}, {"curl", "-sS", "https://both.origin.test/a.txt"});
  EXPECT_THAT(missed.out, HasSubstr("not_recorded")) << missed.err;
}

TEST_F(Names, OfASealedRunThatRecordsAreAskedForItAndKept) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  const std::vector<std::string> command = {"curl", "-sS", "https://v4.origin.test/a.txt"};
  const auto recorded = run({"--session", "s", "--sealed", "--fail-on-miss"}, command);
  ASSERT_EQ(recorded.out, "named") << recorded.err;
  EXPECT_EQ(recorded.status, 0) << recorded.err;
  resolver_.reset();
  EXPECT_EQ(run(kReplay, command).out, "named");
}

TEST_F(Names, InHybridComeFromTheResolverAndFromTheTapeWhereThereIsNone) {
  NginxOrigin origin(lab_, {{"a.txt", "named"}});
  const std::vector<std::string> command = {"curl", "-sS", "https://v4.origin.test/a.txt"};
  const std::vector<std::string> hybrid = {"--session", "s", "--mode", "hybrid"};
  ASSERT_EQ(run(hybrid, command).out, "named");
  origin.stop();
  resolver_.reset();
  const auto again = run(hybrid, command);
  EXPECT_EQ(again.out, "named") << again.err;
  EXPECT_THAT(again.err, HasSubstr("0 recorded, 1 replayed"));
}

TEST_F(Names, AreListedAndTravelWithTheirSession) {
  ASSERT_EQ(run({"--session", "s"}, {"/usr/bin/python3", "-c", kLookups}).status, 0);
  const auto listed = nlohmann::json::parse(tapdeck({"session", "names", "s", "--json"}).out, nullptr, false);
  ASSERT_TRUE(listed.is_object());
  const auto status = [&](const std::string& name, const std::string& type) -> std::string {
    for (const auto& item : listed.value("items", nlohmann::json::array())) {
      if (item.value("name", "") == name && item.value("type", "") == type) return item.value("status", "");
    }
    return "nothing";
  };
  EXPECT_EQ(status("both.origin.test", "A"), "NOERROR");
  EXPECT_EQ(status("both.origin.test", "AAAA"), "NOERROR");
  EXPECT_EQ(status("absent.origin.test", "A"), "NXDOMAIN");
  EXPECT_EQ(status("broken.origin.test", "A"), "SERVFAIL");
  EXPECT_EQ(status("silent.origin.test", "A"), "silent");
  const std::string file = lab_.directory() / "s.tapdeck";
  ASSERT_EQ(tapdeck({"session", "export", "s", "--output", file}).status, 0);
  ASSERT_EQ(tapdeck({"session", "import", file, "--name", "t"}).status, 0);
  resolver_.reset();
  const auto replayed = run({"--session", "t", "--mode", "replay", "--sealed", "--fail-on-miss"},
                            {"getent", "ahostsv4", "both.origin.test"});
  EXPECT_THAT(replayed.out, HasSubstr(kOriginV4)) << replayed.err;
  EXPECT_EQ(replayed.status, 0) << replayed.err;
}

// A socket that is not connected checks who answers.
TEST_F(Names, AnswersComeFromWhomWasAsked) {
  constexpr const char* kAsk = R"(
import socket, struct, sys
def ask(s, name, to):
  q = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + bytes([0, 0, 1, 0, 1])
  s.sendto(q, to)
  s.settimeout(5)
  data, who = s.recvfrom(512)
  print(who[:2], data[-4:] == socket.inet_aton(sys.argv[1]))
ask(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 'v4.origin.test', (sys.argv[1], 53))
ask(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), 'v4.origin.test', ('::ffff:' + sys.argv[1], 53))
)";
  const std::vector<std::string> command = {"/usr/bin/python3", "-c", kAsk, kOriginV4};
  const auto recorded = run({"--session", "s"}, command);
  ASSERT_EQ(recorded.out, std::string("('") + kOriginV4 + "', 53) True\n('::ffff:" + kOriginV4 + "', 53) True\n")
      << recorded.err;
  resolver_.reset();
  EXPECT_EQ(run(kReplay, command).out, recorded.out);
}

// What a captured client's getent says of a name, with the resolver at the origin's address.
Output look_up(Captured& captured, const std::string& name) {
  const auto resolv_conf = captured.lab().directory() / "resolv.conf";
  write_file(resolv_conf, std::string("nameserver ") + kOriginV4 + "\noptions attempts:1\n");
  return run_in(captured.seat(), {"unshare", "--mount", "sh", "-c",
                                  "mount --bind \"$0\" /etc/resolv.conf && mount --bind /dev/null /etc/hosts && "
                                  "exec getent ahostsv4 \"$1\"",
                                  resolv_conf, name});
}

double names(Captured& captured, const std::string& result) {
  return captured.daemon().metric("tapdeck_names_total", {"result=\"" + result + "\""});
}

TEST(NamesOfATarget, AreAnsweredByTheDaemonAndMissesCounted) {
  Captured captured;
  auto resolver = std::make_unique<ScriptedDns>(captured.lab().origin(), 53, names_of_the_lab);
  ASSERT_THAT(look_up(captured, "v4.origin.test").out, HasSubstr(kOriginV4));
  EXPECT_TRUE(eventually(10s, [&] { return names(captured, "observed") > 0; }));
  EXPECT_EQ(names(captured, "forwarded"), 0);
  resolver.reset();
  captured.daemon().must_cli({"attach", "--cgroup", captured.cgroup().path(), "--mode", "replay", "--sealed"});
  EXPECT_THAT(look_up(captured, "v4.origin.test").out, HasSubstr(kOriginV4));
  EXPECT_GT(names(captured, "replayed"), 0);
  EXPECT_EQ(look_up(captured, "other.origin.test").out, "");
  EXPECT_EQ(captured.daemon().metric("tapdeck_misses_total", {"reason=\"dns\""}), 1);
}

// It is not watched, so what it went to is all that is known.
TEST(NamesOfATarget, OfAnInterfaceAreAnsweredWithWhereItsRecordingsWent) {
  for (const auto* seal : {"", "--sealed"}) {
    Captured captured(CaptureBy::Interface);
    NginxOrigin origin(captured.lab(), {{"a.txt", "named"}});
    ASSERT_EQ(run_in(captured.seat(), {"curl", "-sS", "https://v4.origin.test/a.txt"}).out, "named");
    std::vector<std::string> attach = {"attach", "--interface", kClientSide, "--mode", "replay"};
    if (*seal != '\0') attach.emplace_back(seal);
    captured.daemon().must_cli(attach);
    EXPECT_THAT(look_up(captured, "v4.origin.test").out, HasSubstr(kOriginV4)) << seal;
    EXPECT_GT(names(captured, "replayed"), 0);
  }
}

}  // namespace
}  // namespace tapdeck::lab

#include "daemon/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/glob.h"
#include "daemon/base/test_directory.h"
#include "daemon/config/bypass.h"

namespace tapdeck::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

Result<Config> read(std::string_view text) {
  return parse(text, "t.toml", "/etc/tapdeck");
}

std::string problem(std::string_view text) {
  const auto config = read(text);
  return config ? "" : config.error().detail;
}

TEST(Config, EmptyTextIsTheDefaults) {
  const auto config = read("");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->proxy.mode, Mode::Record);
  EXPECT_EQ(config->proxy.replay_refused, ReplayRefused::Answer);
  EXPECT_EQ(config->limits.head_bytes, 65536u);
  EXPECT_EQ(config->limits.h2_streams, 1000u);
  EXPECT_EQ(config->limits.sniff_timeout, 300ms);
  EXPECT_THAT(config->redact.headers, ElementsAre("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"));
}

TEST(Config, ValuesOfEveryKindAreRead) {
  const auto config = read(R"(
[proxy]
mode = "passthrough-cache"
replay_refused = "refuse"
[capture]
lease_ms = 700
on_lease = "closed"
[tls]
upstream_ca = ["lab.pem", "/abs/ca.pem"]
on_bad_upstream = "502"
verify_ttl = "2m"
[storage]
path = "../state"
cache_bytes = "32MiB"
hold_limit = "1.5s"
[log]
access = false
[[targets]]
container = "web"
mode = "replay"
sealed = true
bypass = ["*.internal", "10.0.0.0/8:5432"]
[[targets]]
name = "job"
pid = 42
[[routes]]
host = "*.example.com"
port = 8443
path_prefix = "/v1/"
repeat = "cycle"
)");
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->proxy.mode, Mode::Hybrid);
  EXPECT_EQ(config->proxy.replay_refused, ReplayRefused::Refuse);
  EXPECT_EQ(config->capture.on_lease, OnLease::Closed);
  EXPECT_THAT(config->tls.upstream_ca, ElementsAre("/etc/tapdeck/lab.pem", "/abs/ca.pem"));
  EXPECT_EQ(config->tls.on_bad_upstream, OnBadUpstream::BadGateway);
  EXPECT_EQ(config->tls.verify_ttl, 120s);
  EXPECT_EQ(config->storage.path, "/etc/state");
  EXPECT_EQ(config->storage.cache_bytes, 32u << 20);
  EXPECT_EQ(config->storage.hold_limit, 1500ms);
  EXPECT_EQ(config->log.access, false);
  ASSERT_EQ(config->targets.size(), 2u);
  EXPECT_EQ(config->targets[0].name, "web");
  EXPECT_EQ(config->targets[1].selector, "42");
  EXPECT_EQ(config->targets[1].kind, TargetKind::Pid);
  ASSERT_EQ(config->routes.size(), 1u);
  EXPECT_EQ(config->routes[0].name, "route 1");
  EXPECT_EQ(config->routes[0].repeat, Repeat::Cycle);
}

TEST(Config, UnknownKeyNamesPlaceAndNearestKey) {
  EXPECT_EQ(problem("[storage]\npath = \"x\"\n  durabilty = \"wal\"\n"),
            "t.toml:3:3: unknown key 'durabilty' in [storage]; did you mean 'durability'?");
}

TEST(Config, UnknownSectionNamesPlaceAndNearestSection) {
  EXPECT_EQ(problem("[storge]\n"), "t.toml:1:2: unknown section 'storge'; did you mean 'storage'?");
  EXPECT_EQ(problem("mode = \"record\"\n"), "t.toml:1:1: no key belongs before the first section: 'mode'");
}

TEST(Config, ATargetsPidIsANumber) {
  EXPECT_EQ(problem("[[targets]]\npid = \"abc\"\n"), "t.toml:2:7: pid in [[targets]]: must be a process id");
  EXPECT_EQ(problem("[[targets]]\npid = \"12\"\n"), "");
}

TEST(Config, ATargetWithoutANameIsCalledByItsSelectorAsFarAsThatIsAName) {
  const std::string path = "/system.slice/a service/" + std::string(60, 'x');
  const auto config =
      parse("[[targets]]\ncontainer = \"web\"\n[[targets]]\ncgroup = \"" + path + "\"\n", "t.toml", "/");
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->targets[0].name, "web");
  EXPECT_EQ(config->targets[1].name, "ice/" + std::string(60, 'x'));
  const auto spaced = parse("[[targets]]\ncontainer = \"my web\"\n", "t.toml", "/");
  ASSERT_TRUE(spaced) << spaced.error().detail;
  EXPECT_EQ(spaced->targets[0].name, "my_web");
}

TEST(Config, WrongWordNamesTheValidOnesAndTheNearest) {
  EXPECT_EQ(problem("[proxy]\nmode = \"recrod\"\n"),
            "t.toml:2:8: mode in [proxy]: must be one of \"record\", \"replay\", \"hybrid\", \"passthrough\", "
            "\"passthrough-cache\" (did you mean \"record\"?)");
}

TEST(Config, SyntaxErrorNamesItsPlace) {
  EXPECT_THAT(problem("[proxy]\nmode = \n"), HasSubstr("t.toml:2:"));
  EXPECT_THAT(problem("[proxy]\n[$x]\n"), HasSubstr("t.toml:2:2: "));
  EXPECT_THAT(problem("[\n]\n"), HasSubstr("t.toml:1:2: "));
  EXPECT_THAT(problem("[[=]]\n"), HasSubstr("t.toml:1:3: "));
}

TEST(Config, SeveralProblemsAreReportedAtOnce) {
  const std::string text = problem("[limits]\nheaders = 1\nhead_bytes = \"1\"\nidle_timeout = 5\n[admin]\nfoo = 1\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
}

TEST(Config, ProblemsAreReportedInTheOrderOfTheFile) {
  EXPECT_THAT(problem("[admin]\nfoo = 1\n[limits]\nheaders = 1\nfoo = 1\nhead_bytes = \"1\"\n[proxy]\nmode = \"x\"\n"),
              testing::MatchesRegex("t.toml:2:1: [^\n]*\nt.toml:4:11: [^\n]*\nt.toml:5:1: [^\n]*\nt.toml:6:14: "
                                    "[^\n]*\nt.toml:8:8: [^\n]*"));
}

TEST(Config, AKeyThatOnlyLooksAboutAsLongIsNotSuggested) {
  EXPECT_EQ(problem("[[routes]]\n[routes.match]\nx = 1\n"), "t.toml:2:9: unknown key 'match' in [[routes]]");
  EXPECT_EQ(problem("[[targets]]\nunit = \"a\"\nallow = []\n"), "t.toml:3:1: unknown key 'allow' in [[targets]]");
  EXPECT_EQ(problem("[[targets]]\nunit = \"a\"\nlabel = \"b\"\n"), "t.toml:3:1: unknown key 'label' in [[targets]]");
  EXPECT_THAT(problem("[storage]\nurability = \"wal\"\n"), HasSubstr("did you mean 'durability'?"));
}

TEST(Config, ValuesOutOfRangeOrOfTheWrongTypeAreRefused) {
  for (const char* bad : {"[capture]\nlease_ms = 199\n",
                          "[capture]\nlease_ms = -1\n",
                          "[capture]\nmark = 0\n",
                          "[capture]\nworkers = 1.5\n",
                          "[capture]\nworkers = 33\n",
                          "[limits]\nheader_timeout = \"0\"\n",
                          "[limits]\nheader_timeout = \"1us\"\n",
                          "[limits]\nheader_timeout = \"10.5ms\"\n",
                          "[storage]\ncache_bytes = \"1KiB\"\n",
                          "[storage]\nmax_age = \"90000000h\"\n",
                          "[tls]\nleaf_days = 398\n",
                          "[tls]\nmin_version = \"1.1\"\n",
                          "[tls]\nca_cert = \"a.pem\"\n",
                          "[tls]\nbypass = \"x\"\n",
                          "[tls]\nbypass = [1]\n",
                          "[tls]\nbypass = [\"a b\"]\n",
                          "[log]\naccess = \"yes\"\n",
                          "[redact]\nheaders = [\"a b\"]\n",
                          "[[targets]]\nname = \"x\"\n",
                          "[[targets]]\nunit = \"a\"\npid = 3\n",
                          "[[targets]]\npid = 0\n",
                          "targets = 3\n",
                          "targets = [3]\n",
                          "proxy = 1\n",
                          "[[targets]]\nunit = \"a\"\n[[targets]]\ncgroup = \"a\"\n",
                          "[[routes]]\npath = \"/a\"\npath_prefix = \"/b\"\n",
                          "[[routes]]\npath = \"a\"\n",
                          "[[routes]]\nport = 0\n",
                          "[[routes]]\n[routes.websocket]\nmode = \"loose\"\n",
                          "[[routes]]\n[routes.websocket]\nignore = [\"id\"]\n",
                          "[[targets]]\nunit = \"a\"\nsession = \"../x\"\n"}) {
    EXPECT_NE(problem(bad), "") << bad;
  }
}

TEST(Config, FieldsThatFrameOrRouteMessagesCannotBeRedacted) {
  for (const char* name : {"Content-Length", "transfer-encoding", "Connection", "UPGRADE", "Host", "Content-Type", "TE",
                           "Trailer", "Sec-WebSocket-Accept", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
                           "Sec-WebSocket-Extensions", "Content-Encoding"}) {
    EXPECT_THAT(problem("[redact]\nheaders = [\"X-Api-Key\", \"" + std::string(name) + "\"]\n"),
                HasSubstr("t.toml:2:25: headers in [redact]: frames or routes messages ('" + std::string(name) + "')"))
        << name;
  }
  EXPECT_EQ(problem("[redact]\nheaders = [\"X-Api-Key\", \"Cookie\"]\n"), "");
}

TEST(Config, GrpcFieldsByNameNeedProtoFiles) {
  const auto config = read(
      "[[routes]]\nhost = \"a\"\n[routes.grpc]\nproto_files = [\"p/api.proto\"]\n"
      "match_fields = [\"user.id\", \"2.3\"]\n");
  ASSERT_TRUE(config) << config.error().detail;
  ASSERT_TRUE(config->routes[0].grpc);
  EXPECT_EQ(config->routes[0].grpc->proto_files[0], "/etc/tapdeck/p/api.proto");
  EXPECT_THAT(config->routes[0].grpc->match_fields, ElementsAre("user.id", "2.3"));
  EXPECT_EQ(problem("[[routes]]\n[routes.grpc]\nmatch_fields = [\"2.3\"]\n"), "");
  EXPECT_THAT(problem("[[routes]]\n[routes.grpc]\nmatch_fields = [\"user.id\"]\n"),
              HasSubstr("t.toml:2:1: 'user.id' in match_fields of [routes.grpc] is a name; give proto_files"));
  EXPECT_THAT(problem("[[routes]]\n[routes.grpc]\nmatch_fields = [\"user..id\"]\n"),
              HasSubstr("t.toml:3:17: match_fields in [routes.grpc]: 'user..id' is not a field path"));
}

TEST(Config, AdminListensOnLoopbackOnly) {
  EXPECT_THAT(problem("[admin]\nlisten = \"0.0.0.0:9909\"\n"),
              HasSubstr("listen in [admin]: '0.0.0.0:9909' is not a loopback address"));
  EXPECT_EQ(problem("[admin]\nlisten = \"[::1]:0\"\n"), "");
  EXPECT_TRUE(read("[admin]\nlisten = \"off\"\n")->admin.listen.empty());
}

TEST(Config, PrintedConfigurationReadsBackTheSame) {
  auto config = read(R"(
[capture]
on_lease = "open"
[admin]
listen = "off"
[redact]
headers = []
[log]
format = "json"
[[targets]]
name = "web"
cgroup = "/a \"b\""
session = "s"
[[routes]]
method = "GET"
scheme = "https"
[routes.websocket]
mode = "server-only"
ignore = ["$.id"]
)");
  ASSERT_TRUE(config) << config.error().detail;
  const std::string printed = to_toml(*config);
  const auto again = read(printed);
  ASSERT_TRUE(again) << again.error().detail << "\n" << printed;
  EXPECT_EQ(to_toml(*again), printed);
  EXPECT_TRUE(again->redact.headers.empty());
  EXPECT_TRUE(again->admin.listen.empty());
  EXPECT_EQ(again->targets[0].selector, "/a \"b\"");
  ASSERT_TRUE(again->routes[0].websocket);
  EXPECT_EQ(again->routes[0].websocket->mode, WebSocketMode::ServerOnly);
  EXPECT_THAT(again->routes[0].websocket->ignore, ElementsAre("$.id"));
}

TEST(Config, MissingFileIsNotFoundAndDirectoryIsNoFile) {
  EXPECT_EQ(load("/nonexistent/t.toml").error().code, Code::NotFound);
  EXPECT_FALSE(load("/tmp"));
}

TEST(Config, RelativePathsFollowTheFile) {
  const TestDirectory directory;
  const auto file = directory.write("relative.toml", "[storage]\npath = \"state\"\n");
  const auto config = load(file);
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->storage.path, file.parent_path().lexically_normal() / "state");
}

TEST(Config, LeaseFailsOpenExceptInReplayUnlessTold) {
  Capture capture;
  EXPECT_EQ(lease_policy(capture, Mode::Record), OnLease::Open);
  EXPECT_EQ(lease_policy(capture, Mode::Replay), OnLease::Closed);
  capture.on_lease = OnLease::Open;
  EXPECT_EQ(lease_policy(capture, Mode::Replay), OnLease::Open);
}

bool bypassed(std::string_view rule, std::string_view host, std::string_view destination) {
  return BypassRule::parse(rule).value().matches(host, Endpoint::parse(destination).value());
}

TEST(Bypass, HostGlobsIgnoreCase) {
  EXPECT_TRUE(bypassed("*.Internal", "db.internal", "192.0.2.1:443"));
  EXPECT_FALSE(bypassed("*.internal", "internal", "192.0.2.1:443"));
  EXPECT_FALSE(bypassed("*.internal", "", "192.0.2.1:443"));
  EXPECT_TRUE(bypassed("api.*.org:8443", "api.x.org", "192.0.2.1:8443"));
  EXPECT_FALSE(bypassed("api.*.org:8443", "api.x.org", "192.0.2.1:443"));
}

TEST(Bypass, NetworksMatchByPrefixPortAndFamily) {
  EXPECT_TRUE(bypassed("10.0.0.0/9", "", "10.127.1.1:80"));
  EXPECT_FALSE(bypassed("10.0.0.0/9", "", "10.128.1.1:80"));
  EXPECT_TRUE(bypassed("0.0.0.0/0", "", "203.0.113.9:80"));
  EXPECT_FALSE(bypassed("0.0.0.0/0", "", "[2001:db8::1]:80"));
  EXPECT_TRUE(bypassed("2001:db8::/32", "", "[2001:db8::1]:80"));
  EXPECT_TRUE(bypassed("[2001:db8::]/32:443", "", "[2001:db8::1]:443"));
  EXPECT_FALSE(bypassed("[2001:db8::]/32:443", "", "[2001:db8::1]:80"));
  EXPECT_TRUE(bypassed("192.0.2.7:443", "", "192.0.2.7:443"));
}

TEST(Bypass, MalformedRulesAreRefused) {
  for (const char* rule : {"", "a b", "10.0.0.0/33", "x/8", "h:0", "h:65536", "h:x", "10.0.0.1/", "*.x/8"}) {
    EXPECT_FALSE(BypassRule::parse(rule)) << rule;
  }
}

TEST(Bypass, GlobWithManyStarsStaysFast) {
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "a*";
  EXPECT_FALSE(glob_match(pattern + "b", std::string(250, 'a')));
}

TEST(Config, ProxyListenerIsOffByDefaultAndNeverOpenByAccident) {
  EXPECT_TRUE(read("")->proxy.listen.empty());
  EXPECT_EQ(problem("[proxy]\nlisten = \"127.0.0.1:8080\"\n"), "");
  EXPECT_EQ(problem("[proxy]\nlisten = \"[::1]:8080\"\n"), "");
  for (const std::string address : {"0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"}) {
    const std::string listen = "[proxy]\nlisten = \"" + address + "\"\n";
    EXPECT_THAT(problem(listen), HasSubstr("listen in [proxy]: " + address));
    EXPECT_THAT(problem(listen), HasSubstr("allow_remote = true"));
    EXPECT_EQ(problem(listen + "allow_remote = true\n"), "");
    EXPECT_EQ(problem(listen + "allow = [\"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.7\"]\n"), "");
  }
  EXPECT_THAT(problem("[proxy]\nlisten = \"8080\"\n"), HasSubstr("is not IP:port"));
  EXPECT_THAT(problem("[proxy]\nallow = [\"*.internal\"]\n"), HasSubstr("is not an IP or CIDR"));
  EXPECT_THAT(problem("[proxy]\nallow = [\"10.0.0.0/8\"]\nallow_remote = true\n"), HasSubstr("exclude each other"));
}

TEST(Config, RouteWithAnUpstreamSaysWhatItRewrites) {
  const auto config = read(R"(
[dns]
servers = ["10.0.0.2", "[2001:db8::2]:5353"]
[[routes]]
path_prefix = "/api"
upstream = "h2c://grpc.internal:50051"
rewrite_host = false
rewrite_path = "/v1"
)");
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->routes[0].upstream, "h2c://grpc.internal:50051");
  EXPECT_FALSE(config->routes[0].rewrite_host);
  EXPECT_EQ(config->routes[0].rewrite_path, "/v1");
  EXPECT_THAT(config->dns.servers, ElementsAre("10.0.0.2", "[2001:db8::2]:5353"));
  EXPECT_THAT(problem("[[routes]]\nupstream = \"api.internal\"\n"), HasSubstr("upstream in [[routes]]"));
  EXPECT_THAT(problem("[[routes]]\nrewrite_path = \"/x\"\n"), HasSubstr("need an upstream"));
  EXPECT_THAT(problem("[dns]\nservers = [\"dns.google\"]\n"), HasSubstr("servers in [dns]"));
}

}  // namespace
}  // namespace tapdeck::config

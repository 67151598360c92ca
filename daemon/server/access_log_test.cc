#include "daemon/server/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "daemon/base/log.h"
#include "daemon/server/proxy_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Access lines land in a file; lines() are those written so far.
class AccessLines : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/tapdeck-access-XXXXXX";
    file_ = UniqueFd(::mkstemp(name));
    ASSERT_TRUE(file_);
    ::unlink(name);
    log::detail::forget_limits();  // other tests of this process have written the same events
    log::configure(
        {.level = log::Level::Info, .format = log::Format::Json, .access = log::AccessLines::On, .fd = file_.get()});
  }
  void TearDown() override { log::configure(log::Options{}); }
  [[nodiscard]] std::vector<nlohmann::json> lines(const std::string& event = "exchange") const {
    std::string all(1 << 20, '\0');
    const ssize_t n = ::pread(file_.get(), all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<size_t>(n) : 0);
    std::vector<nlohmann::json> out;
    std::istringstream text(all);
    for (std::string line; std::getline(text, line);) {
      auto json = nlohmann::json::parse(line, nullptr, false);
      EXPECT_TRUE(json.is_object()) << line;
      if (json.is_object() && json.value("event", "") == event) out.push_back(std::move(json));
    }
    return out;
  }

  UniqueFd file_;
};

size_t exchanges_of(WorkerRig& rig, Mode mode) {
  size_t sum = 0;
  for (size_t i = 0; i < kOutcomeCount; ++i) sum += rig.outcomes(mode, static_cast<Outcome>(i));
  return sum;
}

TEST_F(AccessLines, SayWhyAClientGot400Or431) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"), HasSubstr(" 400 "));
  EXPECT_THAT(rig.ask("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(70000, 'x') + "\r\n\r\n"), HasSubstr(" 431 "));
  ASSERT_TRUE(eventually([&] { return lines("request.refused").size() == 2; }));
  EXPECT_THAT(lines("request.refused")[0]["msg"], HasSubstr("malformed request"));
  EXPECT_THAT(lines("request.refused")[0]["destination"], Not(IsEmpty()));
}

TEST_F(AccessLines, SayWhyACONNECTGot400) {
  const ProxyRig proxy;
  EXPECT_THAT(proxy.ask("CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\nBad Name: x\r\n\r\n"),
              HasSubstr(" 400 "));
  ASSERT_TRUE(eventually([&] { return lines("request.refused").size() == 1; }));
  EXPECT_THAT(lines("request.refused")[0]["msg"], HasSubstr("malformed request"));
}

// Envoy's CVE-2026-47220: a formatter that met a request without Host. Every field that a client or origin can leave
// out is left out here, in each mode.
TEST_F(AccessLines, AreWholeWhateverIsAbsent) {
  const std::vector<std::string> requests = {
      "GET / HTTP/1.0\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "GET http://b/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
      "GET /?%00=\x7f HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n",
      "GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "NONSENSE / HTTP/1.1\r\nHost: d\r\n\r\n",
  };
  size_t exchanges = 0;
  for (const Mode mode : {Mode::Record, Mode::Replay, Mode::Hybrid, Mode::Passthrough}) {
    RigOptions options;
    options.mode = mode;
    WorkerRig rig(std::move(options));
    const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
    for (const bool tls : {false, true}) {
      ScriptedOrigin origin(http_origin([](const std::string&) { return std::string("HTTP/1.1 200 \r\n\r\n<FIN>"); }),
                            tls ? context.get() : nullptr);
      rig.go_to(origin.endpoint());
      for (const std::string& request : requests) {
        EXPECT_THAT(rig.ask(request, tls), HasSubstr("HTTP/1.")) << request;
      }
    }
    EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
    exchanges += exchanges_of(rig, mode);
  }
  ASSERT_TRUE(eventually([&] { return lines().size() >= exchanges; }));
  EXPECT_GT(exchanges, 0U);
  for (const auto& line : lines()) {
    for (const char* key : {"http.request.method", "url.path", "mode", "outcome", "destination", "error.type"}) {
      EXPECT_TRUE(line.contains(key)) << key << " in " << line;
    }
    EXPECT_THAT(line["url.path"], ::testing::AnyOf("/", "*", "")) << "of the absolute form only the path: " << line;
  }
}

TEST_F(AccessLines, SayThatABodyWasTooLongToBeLookedForOnTape) {
  RigOptions options;
  options.mode = Mode::Hybrid;
  options.config.limits.body_buffer = 16 << 10;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  const std::string body(20 << 10, 'b');
  const std::string post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  EXPECT_THAT(rig.ask(post + body), HasSubstr("200 OK"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  EXPECT_THAT(rig.ask(post + body), HasSubstr("502"));
  ASSERT_TRUE(eventually([&] { return lines().size() == 2; }));
  const std::string why = "body longer than limits.body_buffer (16KiB): not looked for on tape; raise it";
  EXPECT_EQ(lines()[0]["error"], why);
  EXPECT_EQ(lines()[0]["error.type"], "");
  EXPECT_EQ(lines()[1]["outcome"], "missed");
  EXPECT_THAT(lines()[1]["error"], HasSubstr("; " + why));
  ASSERT_EQ(rig.misses.list().size(), 1U);
  EXPECT_THAT(rig.misses.list().front().reason, HasSubstr("; " + why));
}

TEST_F(AccessLines, HaveOfTheTargetOnlyItsPathWhereThatIsAskedFor) {
  RigOptions options;
  options.config.log.url = config::LogUrl::Path;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  const std::vector<std::string> targets = {"/a?token=1", "/a#token=1", "/a#b?c", "http://h/a#token=1"};
  for (const std::string& target : targets)
    EXPECT_THAT(rig.ask("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), HasSubstr(" 200 "));
  ASSERT_TRUE(eventually([&] { return lines().size() == targets.size(); }));
  for (size_t i = 0; i < targets.size(); ++i) EXPECT_EQ(lines()[i]["url.path"], "/a") << targets[i];
}

TEST_F(AccessLines, AreOneAnExchangeAndCountedOnce) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  const std::string get = "GET /a?secret=1 HTTP/1.1\r\nHost: api.test\r\n\r\n";
  wire.write(get + get + get);
  wire.half_close();
  wire.rest();
  ASSERT_TRUE(eventually([&] { return exchanges_of(rig, Mode::Record) == 3; }));
  ASSERT_EQ(lines().size(), 3U);
  EXPECT_EQ(lines()[0]["outcome"], "recorded");
  EXPECT_EQ(lines()[0]["http.response.status_code"], 200);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 3; }));
}

// From when the origin has all of the request, over new connections and used ones.
TEST(UpstreamDuration, IsWithoutTheClientsUploadAndOfEveryExchange) {
  WorkerRig rig;
  std::promise<void> has_head;
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    has_head.set_value();
    wire.read_n(4);
    wire.write(with_length("one"));
    wire.read_until("\r\n\r\n");
    wire.write(with_length("two"));
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
  has_head.get_future().wait();
  constexpr std::chrono::milliseconds kUpload{100};
  std::this_thread::sleep_for(kUpload);  // lint:allow: the pause is the upload
  wire.write("body");
  wire.read_until("one");
  wire.write("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
  wire.read_until("two");
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.timed(Mode::Record, Outcome::Recorded) == 2; }));
  EXPECT_EQ(rig.count(Counter::UpstreamReused), 1U);
  const auto waited = rig.observed(Histogram::UpstreamFirstByte);
  EXPECT_EQ(waited.count, 2U);
  EXPECT_LE(waited.seconds, rig.timed_seconds(Mode::Record, Outcome::Recorded) - 0.1);
}

TEST_F(AccessLines, SayWhereARequestToTheProxyGoes) {
  ProxyRig proxy;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  for (const std::string host : {"127.0.0.1", "web.test"}) {
    const std::string place = host + ":" + port_of(origin);
    EXPECT_THAT(proxy.ask("GET http://" + place + "/ HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr(" 200 "));
    ASSERT_TRUE(eventually([&] { return !lines().empty() && lines().back()["destination"] == place; })) << place;
  }
  proxy.rig.set_mode(Mode::Replay);
  const std::string place = "web.test:" + port_of(origin);
  for (int i = 0; i < 2; ++i) {  // from the store, and from the worker's cache
    EXPECT_THAT(proxy.ask("GET http://" + place + "/ HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr(" 200 "));
    const size_t now = 3 + static_cast<size_t>(i);
    ASSERT_TRUE(eventually([&] { return lines().size() == now; }));
    EXPECT_EQ(lines().back()["destination"], place);
  }
}

TEST_F(AccessLines, NameTheRecordingOfWhatBrokeOff) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin(
      [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart<FIN>"); }));
  rig.go_to(origin.endpoint());
  EXPECT_THAT(rig.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"), HasSubstr("part"));
  ASSERT_TRUE(eventually([&] { return lines().size() == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  store::RecordingFilter filter;
  const auto page = rig.store->list_recordings(filter);
  ASSERT_TRUE(page && page->items.size() == 1);
  EXPECT_EQ(lines()[0]["recording"], page->items[0].id);
}

// The session answers in the place of a handler that waits for the body, and stops it then.
TEST_F(AccessLines, SayTheStatusAClientGotWhoseBodyStalled) {
  const std::string half = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" + std::string(20, 'x');
  size_t before = 0;
  for (const Mode mode : {Mode::Replay, Mode::Hybrid, Mode::Record}) {
    for (auto limit : {&config::Limits::idle_timeout, &config::Limits::request_timeout}) {
      RigOptions options;
      options.mode = mode;
      options.config.limits.*limit = std::chrono::milliseconds(50);
      WorkerRig rig(std::move(options));
      ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
      rig.go_to(origin.endpoint());
      Wire wire = rig.connect();
      wire.write(half);
      EXPECT_THAT(wire.rest(), HasSubstr(" 408 "));
      ASSERT_TRUE(eventually([&] { return lines().size() == before + 1; }));
      EXPECT_EQ(lines()[before]["http.response.status_code"], 408) << to_string(mode);
      EXPECT_EQ(lines()[before]["error.type"], "request_timeout") << to_string(mode);
      ++before;
    }
  }
}

}  // namespace
}  // namespace tapdeck::server

// HTTP/2 with real clients and servers: record, origin gone, replay; either version for the other; the public
// conformance suite against both of our sides; and the chaos of HTTP/2 origins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nghttpd_origin.h"
#include "netns-tests/nginx_origin.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

class H2 : public ::testing::TestWithParam<CaptureBy> {};
INSTANTIATE_TEST_SUITE_P(Path, H2, ::testing::Values(CaptureBy::Cgroup, CaptureBy::Interface),
                         [](const auto& info) { return to_string(info.param); });

// Longer than the suite's window games need.
constexpr const char* kPage = "<html>a page of more than a few bytes</html>\n";

Output curl(const Seat& seat, const std::vector<std::string>& options) {
  std::vector<std::string> argv = {"curl", "-sS", "-i"};
  argv.insert(argv.end(), options.begin(), options.end());
  return run_in(seat, argv);
}

TEST_P(H2, RecordsAndReplaysByTlsAndInClearWithTheOriginGone) {
  Captured captured(GetParam());
  NghttpdOrigin origin(captured.lab(),
                       {{"hello.json", "{\"hello\": \"h2\"}\n"}, {"big.txt", std::string(700000, 'b')}});
  const std::vector<std::vector<std::string>> asks = {
      {"--http2", "https://v4.origin.test/hello.json"},
      {"--http2", "https://v6.origin.test/big.txt"},
      {"--http2", "https://v4.origin.test/big.txt", "https://v4.origin.test/hello.json"},
      {"--http2-prior-knowledge", "http://v4.origin.test:8080/hello.json"},
      {"--http2-prior-knowledge", "http://v6.origin.test:8080/big.txt"}};
  std::vector<std::string> recorded;
  for (const auto& ask : asks) {
    const auto output = curl(captured.seat(), ask);
    EXPECT_THAT(output.out, ::testing::StartsWith("HTTP/2 200")) << output.err;
    recorded.push_back(output.out);
  }
  EXPECT_EQ(captured.daemon().metric("tapdeck_connections_total", {"protocol=\"h2\""}), double(asks.size()));
  origin.stop();
  captured.replay();
  for (size_t i = 0; i < asks.size(); ++i) {
    EXPECT_EQ(curl(captured.seat(), asks[i]).out, recorded[i]) << asks[i].back();
  }
}

TEST_P(H2, WhatOneVersionRecordedTheOtherReplays) {
  Captured captured(GetParam());
  NghttpdOrigin origin(captured.lab(), {{"hello.json", "{\"hello\": \"h2\"}\n"}});
  const std::string url = "https://origin.test/hello.json";
  EXPECT_THAT(curl(captured.seat(), {"--http2", url}).out, HasSubstr("HTTP/2 200"));
  origin.stop();
  captured.replay();
  const auto old = curl(captured.seat(), {"--http1.1", url});
  EXPECT_THAT(old.out, ::testing::StartsWith("HTTP/1.1 200 OK\r\n")) << old.err;
  EXPECT_THAT(old.out, HasSubstr("{\"hello\": \"h2\"}"));
}

TEST_P(H2, AClientIsOfferedWhatItsOriginSpeaks) {
  Captured captured(GetParam());
  NginxOrigin origin(captured.lab(), {{"hello.json", "{}\n"}});  // http/1.1 only
  const auto output = curl(captured.seat(), {"--http2", "https://origin.test/hello.json"});
  EXPECT_THAT(output.out, ::testing::StartsWith("HTTP/1.1 200")) << output.err;
}

// Strict, all cases, by TLS and in clear; the routes make an http/1.1 origin answer HTTP/2 clients.
TEST(H2Spec, PassesStrictOnTheClientSideWithOriginsOfBothVersions) {
  DaemonOptions options;
  options.routes = "[[routes]]\nport = 443\nupstream_http = \"1.1\"\n[[routes]]\nport = 80\nupstream_http = \"1.1\"\n";
  for (const bool http1 : {false, true}) {
    Captured captured(CaptureBy::Cgroup, http1 ? options : DaemonOptions{});
    std::unique_ptr<NghttpdOrigin> modern;
    std::unique_ptr<NginxOrigin> old;
    if (http1) {
      old = std::make_unique<NginxOrigin>(captured.lab(), std::map<std::string, std::string>{{"index.html", kPage}});
    } else {
      modern =
          std::make_unique<NghttpdOrigin>(captured.lab(), std::map<std::string, std::string>{{"index.html", kPage}});
    }
    const std::string clear = http1 ? "80" : "8080";
    for (const std::vector<std::string>& by :
         {std::vector<std::string>{"-t", "-k", "-p", "443"}, std::vector<std::string>{"-p", clear}}) {
      std::vector<std::string> argv = {h2_suite("h2spec"), "--strict", "-h", "10.77.2.2"};
      argv.insert(argv.end(), by.begin(), by.end());
      // Some cases race the end of their own stream: a window that overflows must be answered, unless the response was
      // faster than the overflow. So there are further tries, in one of which all must pass, and what failed is shown.
      auto output = run_in(captured.seat(), argv, "", std::chrono::minutes(3));
      for (int tries = 1; tries < 3 && !output.out.contains(" 0 failed"); ++tries) {
        std::cout << "tried again, port " << by.back() << ":\n"
                  << output.out.substr(std::min(output.out.find("Failures:"), output.out.size())) << output.err << "\n";
        output = run_in(captured.seat(), argv, "", std::chrono::minutes(3));
      }
      EXPECT_THAT(output.out, HasSubstr("146 tests, 146 passed, 0 skipped, 0 failed"))
          << (http1 ? "http/1.1 origin, port " : "h2 origin, port ") << by.back() << "\n"
          << output.out.substr(output.out.size() - std::min<size_t>(output.out.size(), 3000));
    }
    EXPECT_TRUE(eventually(10s, [&] { return captured.daemon().metric("tapdeck_active_connections") == 0; }));
  }
}

// The suite plays the origin and asks, case by case, for a client: curl, whose connection we take over.
TEST(H2Spec, PassesOnTheOriginSide) {
  Captured captured;
  const std::string curl_line = "nsenter --net=/run/netns/" + captured.lab().client().name() +
                                " curl -s -m 2 --http2-prior-knowledge -o /dev/null";
  auto options = seated(captured.seat(), {"nsenter", "--net=/run/netns/" + captured.lab().origin().name(),
                                          h2_suite("h2specd"), "-S", "-h", "10.77.2.2", "-p", "9999", "-e", curl_line});
  const auto output = run_to_end(options, std::chrono::minutes(3));
  EXPECT_THAT(output.out, HasSubstr("57 tests, 57 passed, 0 skipped, 0 failed")) << output.out << output.err;
  EXPECT_GE(captured.daemon().metric("tapdeck_connections_total", {"protocol=\"h2\""}), 50.0)
      << "the suite talked to curl, not to us";
}

}  // namespace
}  // namespace tapdeck::lab

// A real Prometheus scrapes the daemon and answers queries with our counters; promtool finds nothing to complain about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

// Three uploads over TLS, the last over a session of the one before.
constexpr const char* kUploads = R"(
import os, socket, ssl
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
session = None
for again in (False, False, True):
    raw = socket.create_connection(("10.77.2.2", 443), 20)
    s = context.wrap_socket(raw, server_hostname="origin.test", session=session if again else None)
    s.sendall(b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    while s.recv(1000): pass
    session = s.session
print(s.session_reused)
)";

TEST(Metrics, OfUploadsOverTlsAreThoseOfTheClientsSide) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(), answers({{"/", ok_response("xyz")}}));
  const auto output = run_in(captured.seat(), {"/usr/bin/python3", "-c", kUploads});
  ASSERT_EQ(output.out, "True\n") << output.err;
  const auto metric = [&](const std::string& name, const std::vector<std::string>& labels) {
    return captured.daemon().metric(name, labels);
  };
  EXPECT_EQ(metric("tapdeck_bytes_total", {"direction=\"up\""}), 3 * 5);
  EXPECT_EQ(metric("tapdeck_bytes_total", {"direction=\"down\""}), 3 * 3);
  EXPECT_EQ(metric("tapdeck_tls_leaf_cache_requests_total", {"result=\"miss\""}), 1);
  EXPECT_GE(metric("tapdeck_tls_leaf_cache_requests_total", {"result=\"hit\""}), 1);
  EXPECT_EQ(metric("tapdeck_tls_handshakes_total", {"side=\"downstream\"", "result=\"ok\""}), 2);
  EXPECT_EQ(metric("tapdeck_tls_handshakes_total", {"side=\"downstream\"", "result=\"resumed\""}), 1);
}

TEST(Prometheus, ScrapesUsAndItsQueryApiAnswersWithOurCounters) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  for (int i = 0; i < 7; ++i) ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).status, 0);
  const auto directory = captured.lab().directory() / "prometheus";
  std::filesystem::create_directory(directory);
  write_file(directory / "prometheus.yml",
             "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: tapdeck\n  static_configs:\n"
             "  - targets: ['127.0.0.1:9909']\n");
  Process prometheus(
      {.argv = {"prometheus", "--config.file=" + (directory / "prometheus.yml").string(),
                "--storage.tsdb.path=" + (directory / "data").string(), "--web.listen-address=127.0.0.1:9090"},
       .netns = &captured.lab().gw()});
  const auto query = [&]() -> std::string {
    const auto reply = run_to_end(
        {.argv = {"curl", "-sS", "--data-urlencode", "query=sum(tapdeck_requests_total{outcome=\"recorded\"})",
                  "http://127.0.0.1:9090/api/v1/query"},
         .netns = &captured.lab().gw()});
    const auto json = nlohmann::json::parse(reply.out, nullptr, false);
    if (!json.is_object() || json.value("status", "") != "success" || json["data"]["result"].empty()) return "";
    return json["data"]["result"][0]["value"][1].get<std::string>();
  };
  EXPECT_TRUE(eventually(40s, [&] { return query() == "7"; })) << query() << prometheus.err();
}

TEST(Prometheus, PromtoolChecksTheMetricsClean) {
  Captured captured;
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, answers({{"/", ok_response("x")}}));
  ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/")).status, 0);
  const auto page = captured.daemon().get("/metrics");
  ASSERT_EQ(page.status, 200);
  const auto checked = run_to_end({.argv = {"promtool", "check", "metrics"}, .input = page.body});
  EXPECT_EQ(checked.status, 0) << checked.out << checked.err;
  EXPECT_EQ(checked.out + checked.err, "");
}

}  // namespace
}  // namespace tapdeck::lab

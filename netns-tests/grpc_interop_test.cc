// The public gRPC interop cases with real clients, recorded against a real server and replayed without it: the same
// verdicts. grpc-go, grpcio (the C core) and grpc-js as clients and as servers, over TLS and over clear text (HTTP/2 by
// prior knowledge).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "netns-tests/clients.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/eventually.h"
#include "netns-tests/grpc_lab.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// What the public list calls them. timeout_on_sleeping_server and the cancellations end at the client: what is compared
// is its verdict.
const std::vector<std::string> kCases = {"empty_unary",
                                         "large_unary",
                                         "large_unary_gzip",
                                         "client_streaming",
                                         "server_streaming",
                                         "ping_pong",
                                         "empty_stream",
                                         "custom_metadata",
                                         "status_code_and_message",
                                         "special_status_message",
                                         "unimplemented_method",
                                         "unimplemented_service",
                                         "cancel_after_begin",
                                         "cancel_after_first_response",
                                         "timeout_on_sleeping_server"};

// A call with a deadline of a millisecond may be over before anything of it left its client, and then there is nothing
// to record: five of them leave one.
std::vector<std::string> cases_to_record() {
  std::vector<std::string> cases = kCases;
  cases.insert(cases.end(), 4, "timeout_on_sleeping_server");
  return cases;
}

std::string all_ok(const std::vector<std::string>& cases) {
  std::string text;
  for (const std::string& name : cases) text += name + " ok\n";
  return text;
}

struct Setting {
  const char* client;
  const char* server;
  Tls tls;
};

class GrpcInterop : public ::testing::TestWithParam<Setting> {
 protected:
  Output run(const std::string& mode, const std::vector<std::string>& cases) {
    std::vector<std::string> argv = {tapdeck_binary(),
                                     "run",
                                     "--state-dir",
                                     lab_.directory() / "run-state",
                                     "--upstream-ca",
                                     lab_.ca().certificate(),
                                     "--session",
                                     "g",
                                     "--mode",
                                     mode,
                                     "--summary",
                                     summary_file(),
                                     "--"};
    const GrpcCall call{GetParam().client, "v4.origin.test", GetParam().tls};
    for (const std::string& word : grpc_client(call, cases)) argv.push_back(word);
    return run_in({.lab = lab_}, argv, "", std::chrono::seconds(120));
  }
  [[nodiscard]] std::string summary_file() const { return lab_.directory() / "summary.json"; }
  [[nodiscard]] int summed(const std::string& key) const {
    return nlohmann::json::parse(read_file(summary_file()), nullptr, false).value(key, -1);
  }

  Topology lab_;
};

TEST_P(GrpcInterop, VerdictsAreTheSameWhenTheServerIsGone) {
  GrpcServer server(lab_, GetParam().server, GetParam().tls);
  const Output recorded = run("record", cases_to_record());
  ASSERT_EQ(recorded.out, all_ok(cases_to_record())) << recorded.err;
  EXPECT_EQ(summed("tunnelled"), 0);
  EXPECT_GE(summed("recorded"), 12);
  server.stop();
  const Output replayed = run("replay", kCases);
  EXPECT_EQ(replayed.out, all_ok(kCases)) << replayed.err;
  EXPECT_GE(summed("replayed"), 12);
}

INSTANTIATE_TEST_SUITE_P(Clients, GrpcInterop,
                         ::testing::Values(Setting{"go", "go", Tls::Yes}, Setting{"go", "go", Tls::No},
                                           Setting{"python", "go", Tls::Yes}, Setting{"python", "go", Tls::No},
                                           Setting{"js", "go", Tls::Yes}, Setting{"js", "go", Tls::No},
                                           Setting{"go", "js", Tls::Yes}, Setting{"python", "js", Tls::No},
                                           Setting{"js", "js", Tls::Yes}, Setting{"js", "js", Tls::No},
                                           Setting{"python", "python", Tls::Yes}, Setting{"js", "python", Tls::No},
                                           Setting{"go", "python", Tls::No}),
                         [](const auto& info) {
                           const std::string server = info.param.server;
                           return std::string(info.param.client) + (info.param.tls == Tls::Yes ? "Tls" : "Clear") +
                                  (server == "js"       ? "AgainstJs"
                                   : server == "python" ? "AgainstPython"
                                                        : "");
                         });

}  // namespace
}  // namespace tapdeck::lab

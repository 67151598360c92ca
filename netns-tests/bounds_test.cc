// What is bounded stays bounded: memory while a long body is recorded and replayed, and the store by bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "netns-tests/captured.h"
#include "netns-tests/eventually.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

// The most memory the daemon ever had, in MiB.
size_t peak_mib(const DaemonProcess& daemon) {
  std::istringstream status(read_file("/proc/" + std::to_string(daemon.pid()) + "/status"));
  for (std::string word; status >> word;) {
    size_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib / 1024;
  }
  ADD_FAILURE() << "no VmHWM";
  return 0;
}

TEST(Bounds, ALongBodyIsNeverHeldWholeWhileItIsRecordedOrReplayed) {
  constexpr size_t kMiB = 256;
  Captured captured;
  auto& daemon = captured.daemon();
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    const auto target = target_of(peer.read_request());
    const std::string piece(1 << 20, 'z');
    const size_t pieces = target == "/long" ? kMiB : 1;
    peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(pieces << 20) + "\r\n\r\n");
    for (size_t i = 0; i < pieces && peer.stream().send(piece); ++i) continue;
  });
  const auto fetch_bytes = [&](const std::string& path) {
    return run_in(captured.seat(), {"curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}",
                                    std::string("http://") + kOriginV4 + path})
        .out;
  };
  ASSERT_EQ(fetch_bytes("/short"), std::to_string(1 << 20));
  const size_t before = peak_mib(daemon);
  ASSERT_EQ(fetch_bytes("/long"), std::to_string(kMiB << 20));
  EXPECT_LT(peak_mib(daemon) - before, 64U) << "while recording";
  origin->stop();
  captured.replay();
  ASSERT_EQ(fetch_bytes("/long"), std::to_string(kMiB << 20));
  EXPECT_LT(peak_mib(daemon) - before, 64U) << "while replaying";
}

TEST(Bounds, ByBytesTheOldestRecordingsAreForgotten) {
  DaemonOptions options;
  options.sections["storage"] = "max_bytes = \"1MiB\"\n";
  Captured captured(CaptureBy::Cgroup, options);
  auto& daemon = captured.daemon();
  ScriptedOrigin origin(captured.lab().origin(), 80, std::nullopt, [](Peer& peer) {
    const auto target = target_of(peer.read_request());
    std::string body(200'000, '.');
    for (size_t i = 0; i < body.size(); i += target.size()) body.replace(i, target.size(), target);
    peer.stream().send(ok_response(body));
  });
  for (int i = 100; i < 112; ++i) {
    ASSERT_EQ(raw_tcp(captured.seat(), kOriginV4, 80, get_request("/" + std::to_string(i))).status, 0);
  }
  EXPECT_TRUE(eventually(10s, [&] { return daemon.metric("tapdeck_store_pruned_total", {"max_bytes"}) >= 6; }));
  const auto list = nlohmann::json::parse(daemon.must_cli({"recording", "list", "--json"}));
  EXPECT_GE(list["items"].size(), 3U);
  EXPECT_LE(list["items"].size(), 6U);
  EXPECT_THAT(list.dump(), ::testing::HasSubstr("/111")) << "the newest stays";
  EXPECT_THAT(list.dump(), ::testing::Not(::testing::HasSubstr("/100"))) << "the oldest goes";
}

}  // namespace
}  // namespace tapdeck::lab

// What is bounded stays bounded: memory while a long body is recorded and replayed, and the store by bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
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

// 256; `make long-body` asks for 10,240. The time a run may take grows with it.
size_t long_body_mib() {
  const char* given = std::getenv("TAPDECK_LONG_BODY_MIB");
  const int mib = given != nullptr ? std::atoi(given) : 0;
  return mib > 0 ? static_cast<size_t>(mib) : 256;
}

// No two pieces of a body are alike: what is alike is stored once, and would not fill any buffer.
void number_lines(std::string& piece, size_t index) {
  for (size_t at = 0; at + 64 <= piece.size(); at += 64) {
    const uint64_t mark = (index * piece.size() + at) * 0x9e3779b97f4a7c15;
    std::memcpy(piece.data() + at, &mark, sizeof mark);
  }
}

TEST(Bounds, ALongBodyIsNeverHeldWholeWhileItIsRecordedOrReplayed) {
  const size_t mib = long_body_mib();
  Captured captured;
  auto& daemon = captured.daemon();
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    const auto target = target_of(peer.read_request());
    std::string piece(1 << 20, 'z');
    const size_t pieces = target == "/long" ? mib : 1;
    peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(pieces << 20) + "\r\n\r\n");
    for (size_t i = 0; i < pieces; ++i) {
      number_lines(piece, i);
      if (!peer.stream().send(piece)) return;
    }
  });
  const auto digest_of = [&](const std::string& path) {
    const std::string url = std::string("http://") + kOriginV4 + path;
    const Output fetched = run_in(captured.seat(), {"bash", "-c", "set -o pipefail; curl -sS " + url + " | sha256sum"},
                                  "", 60s + mib * 200ms);
    EXPECT_EQ(fetched.status, 0) << fetched.err;
    return fetched.out;
  };
  digest_of("/short");
  const size_t before = peak_mib(daemon);
  const std::string recorded = digest_of("/long");
  const size_t recording = peak_mib(daemon);
  EXPECT_LE(recording - before, 64U) << "while recording";
  origin->stop();
  captured.replay();
  EXPECT_EQ(digest_of("/long"), recorded);
  const size_t replaying = peak_mib(daemon);
  EXPECT_LE(replaying - before, 64U) << "while replaying";
  std::cout << mib << " MiB: " << before << " MiB before, at most " << recording << " while recording, " << replaying
            << " while replaying\n";
}

TEST(Bounds, ALongRequestBodyIsNeverHeldWholeWhileItIsRecordedOrMatched) {
  const size_t mib = long_body_mib();
  Captured captured;
  auto& daemon = captured.daemon();
  const auto file = captured.lab().directory() / "upload";
  {
    std::ofstream out(file, std::ios::binary);
    std::string piece(1 << 20, 'z');
    for (size_t i = 0; i < mib; ++i) {
      number_lines(piece, i);
      out << piece;
    }
  }
  auto origin = std::make_unique<ScriptedOrigin>(captured.lab().origin(), 80, std::nullopt, [&](Peer& peer) {
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      const std::string more = peer.stream().read_some();
      if (more.empty()) return;
      head += more;
    }
    const size_t wanted = head.find(" /long ") != std::string::npos ? mib << 20 : 5;
    size_t got = head.size() - head.find("\r\n\r\n") - 4;
    while (got < wanted) {
      const size_t more = peer.stream().read_some().size();
      if (more == 0) return;
      got += more;
    }
    peer.stream().send(ok_response("got " + std::to_string(got)));
  });
  const auto upload = [&](const std::string& path, const std::filesystem::path& file_sent) {
    const std::string url = std::string("http://") + kOriginV4 + path;
    const Output sent = run_in(captured.seat(), {"curl", "-sS", "-m", "600", "-H", "Expect:", "-T", file_sent, url}, "",
                               60s + mib * 200ms);
    EXPECT_EQ(sent.status, 0) << sent.err;
    return sent.out;
  };
  const auto small = captured.lab().directory() / "small";
  write_file(small, "short");
  EXPECT_EQ(upload("/short", small), "got 5");
  const size_t before = peak_mib(daemon);
  const std::string wanted = "got " + std::to_string(mib << 20);
  EXPECT_EQ(upload("/long", file), wanted);
  const size_t recording = peak_mib(daemon);
  EXPECT_LE(recording - before, 64U) << "while recording";
  EXPECT_TRUE(eventually(20s, [&] { return daemon.metric("tapdeck_recordings_total", {"result=\"complete\""}) == 2; }))
      << daemon.must_cli({"recording", "list"});
  origin->stop();
  captured.replay();
  EXPECT_EQ(upload("/long", file), wanted);
  const size_t replaying = peak_mib(daemon);
  EXPECT_LE(replaying - before, 64U) << "while it is matched";
  std::cout << mib << " MiB up: " << before << " MiB before, at most " << recording << " while recording, " << replaying
            << " while replaying\n";
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

// Chaos: clients that stop. Half a head, half a body, and readers that ask for much and read nothing, over HTTP/1.1
// and HTTP/2: each is given up in its time, holds nothing at the origin meanwhile that it should not, and leaves
// nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <set>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/eventually.h"
#include "netns-tests/h2_frames.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

constexpr uint16_t kOldPort = 80, kH2Port = 8080;  // by the version of the origin

struct Stall {
  uint16_t port;
  std::string said;
  const char* told;  // a part of the answer; null: it reads nothing
};

std::vector<Stall> stalls() {
  const std::string get = h2_get(1);
  return {{kOldPort, "GET / HTTP/1.1\r\nHost: origin.te", "HTTP/1.1 408 "},
          {kOldPort, "POST /post HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 10\r\n\r\nhalf", "HTTP/1.1 408 "},
          {kOldPort, get_request("/"), nullptr},
          {kH2Port, h2_client_greeting() + get.substr(0, get.size() / 2), ""},
          {kH2Port, h2_client_greeting() + h2_post(1) + h2_half_body(1), "\"request_timeout\""},
          {kH2Port, h2_client_greeting(0) + get, nullptr},    // all of its answer waits for its window
          {kOldPort, h2_client_greeting(0) + get, nullptr}};  // what fits waits, and the origin with it
}

void serve_without_end(Peer& peer) {
  if (target_of(peer.read_request()) == "/small") {
    peer.stream().send(ok_response("small"));
    return;
  }
  const std::string piece(1 << 20, 'b');
  peer.stream().send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
  while (peer.stream().send(piece)) continue;
}

// Answers whole requests. Counts the others: those taken back, and those that nobody ended.
void serve_whole_requests(Peer& peer, std::atomic<size_t>& taken_back, std::atomic<size_t>& forgotten) {
  if (!read_h2_preface(peer.stream()) || !peer.stream().send(h2_greeting())) return;
  std::set<uint32_t> half;
  while (const auto frame = read_h2_frame(peer.stream())) {
    if (frame->is_headers()) half.insert(frame->stream);
    if (frame->is_reset()) taken_back += half.erase(frame->stream);
    if (!frame->ends_stream()) continue;
    half.erase(frame->stream);
    peer.stream().send(h2_head(frame->stream) + h2_body(frame->stream));
  }
  forgotten += half.size();
}

TEST(StallChaos, HalfHeadsHalfBodiesAndReadersThatStopAreGivenUp) {
  DaemonOptions options;
  options.sections["limits"] = "header_timeout = \"500ms\"\nidle_timeout = \"500ms\"\n";
  options.routes = "[[routes]]\nport = 80\nupstream_http = \"1.1\"\n";
  Captured captured(CaptureBy::Interface, options);
  ScriptedOrigin old_origin(captured.lab().origin(), kOldPort, std::nullopt, serve_without_end);
  std::atomic<size_t> taken_back{0}, forgotten{0};
  ScriptedOrigin h2_origin(captured.lab().origin(), kH2Port, std::nullopt,
                           [&](Peer& peer) { serve_whole_requests(peer, taken_back, forgotten); });
  std::list<std::pair<Stall, Stream>> clients;
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const Stall& stall : stalls()) {
      clients.emplace_back(stall, captured.connect(kOriginV4, stall.port)).second.send(stall.said);
    }
    // Left instead of timed out: both happen with many repeats.
    if (clients.size() >= 300 && i + 1 < chaos_repeats()) clients.clear();
  }
  EXPECT_TRUE(eventually(20s, [&] { return captured.daemon().metric("tapdeck_active_connections") == 0; }))
      << captured.daemon().metric("tapdeck_active_connections");
  for (auto& [stall, client] : clients) {
    if (stall.told == nullptr) continue;
    const std::string answer = client.read_to_end();
    EXPECT_THAT(answer, ::testing::HasSubstr(stall.told));
    if (stall.port == kH2Port) EXPECT_THAT(answer, ::testing::HasSubstr(h2_goaway(0x7fffffff, 0)));
    EXPECT_EQ(client.read_errno(), 0);
  }
  for (const ScriptedOrigin* origin : {&old_origin, &h2_origin}) {
    EXPECT_TRUE(eventually(10s, [&] { return origin->open() == 0; }))
        << origin->open() << " scripts of the origin still run";
  }
  EXPECT_GT(taken_back, 0U);
  EXPECT_EQ(forgotten, 0U);
  EXPECT_LE(old_origin.requests(), 2 * static_cast<uint64_t>(chaos_repeats())) << "a half request was taken for whole";
  Stream good = captured.connect(kOriginV4, kOldPort);
  good.send(get_request("/small"));
  EXPECT_THAT(good.read_to_end(), ::testing::EndsWith("small"));
}

}  // namespace
}  // namespace tapdeck::lab

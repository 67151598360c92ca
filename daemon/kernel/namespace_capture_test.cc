#include "daemon/kernel/namespace_capture.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace tapdeck::kernel {
namespace {

struct Collected final : ListenerSink {
  void add_listener(CapturedListener listener) override { added.push_back(std::move(listener)); }
  void remove_listener(uint64_t id) override { removed.push_back(id); }
  std::vector<CapturedListener> added;
  std::vector<uint64_t> removed;
};

NamespaceListeners three_listeners() {
  NamespaceListeners out;
  for (int i = 0; i < 3; ++i) out.fds.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  out.v4 = *Endpoint::parse("127.84.0.1:61000");
  out.v6 = *Endpoint::parse("[::1]:61000");
  out.netns_cookie = 7;
  out.uid = 1000;
  out.uncaptured = [] {
    std::array<uint64_t, kUncapturedReasons> counts{};
    counts[static_cast<size_t>(Uncaptured::Quic)] = 5;
    return counts;
  };
  return out;
}

TEST(NamespaceCapture, HandsListenersToTheWorkersInTurnAndTakesThemBack) {
  Collected sink;
  {
    const auto capture = namespace_capture(sink, 2);
    ASSERT_TRUE(capture->attach_namespace(1, three_listeners()));
    ASSERT_EQ(sink.added.size(), 3U);
    EXPECT_EQ(sink.added[0].worker, 0U);
    EXPECT_EQ(sink.added[1].worker, 1U);
    EXPECT_EQ(sink.added[2].worker, 0U);
    EXPECT_EQ(capture->attach_namespace(1, three_listeners()).error().code, Code::Busy);
  }
  EXPECT_EQ(sink.removed, (std::vector<uint64_t>{1, 2, 3}));
}

TEST(NamespaceCapture, TheDestinationIsTheLocalAddress) {
  Collected sink;
  const auto capture = namespace_capture(sink, 1);
  ASSERT_TRUE(capture->attach_namespace(1, three_listeners()));
  const ListenerKey key = sink.added.front().key;
  const auto client = *Endpoint::parse("192.0.0.8:40000");
  const auto flow = capture->resolve(key, client, *Endpoint::parse("203.0.113.1:443"));
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->client, client);
  EXPECT_EQ(flow->original_destination.to_string(), "203.0.113.1:443");
  EXPECT_EQ(flow->path, CapturePath::Netns);
  EXPECT_EQ(flow->identity.target, 1U);
  EXPECT_EQ(flow->identity.uid, 1000U);
  // Nobody's destination.
  EXPECT_EQ(capture->resolve(key, client, *Endpoint::parse("127.84.0.1:61000")).error().code, Code::NotFound);
  EXPECT_EQ(capture->resolve(key, client, *Endpoint::parse("[::1]:61000")).error().code, Code::NotFound);
  EXPECT_EQ(capture->stats().targets.front().captured, 1U);
}

TEST(NamespaceCapture, StatsSayWhatWasRefusedThere) {
  Collected sink;
  const auto capture = namespace_capture(sink, 1);
  EXPECT_TRUE(capture->stats().targets.empty());
  ASSERT_TRUE(capture->attach_namespace(1, three_listeners()));
  ASSERT_EQ(capture->stats().targets.size(), 1U);
  const TargetStats target = capture->stats().targets.front();
  EXPECT_TRUE(target.attached);
  EXPECT_EQ(target.path, CapturePath::Netns);
  EXPECT_EQ(target.uncaptured[static_cast<size_t>(Uncaptured::Quic)], 5U);
  ASSERT_TRUE(capture->detach(1));
  EXPECT_FALSE(capture->stats().targets.front().attached);
  EXPECT_EQ(capture->detach(2).error().code, Code::NotFound);
}

TEST(NamespaceCapture, DoesNothingElse) {
  Collected sink;
  const auto capture = namespace_capture(sink, 1);
  EXPECT_EQ(capture->attach_cgroup(1, "/x", {}).error().code, Code::Unsupported);
  EXPECT_EQ(capture->attach_interface(1, "lo", {}).error().code, Code::Unsupported);
  EXPECT_TRUE(capture->upstream_socket(0, AF_INET));
}

}  // namespace
}  // namespace tapdeck::kernel

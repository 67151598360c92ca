#include "daemon/net/frame_memory.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "daemon/net/task.h"

namespace tapdeck::net {
namespace {

TEST(FrameMemory, ABlockComesBackForTheNextFrameOfItsSize) {
  void* first = take_frame(1500);
  give_back_frame(first, 1500);
  void* other = take_frame(200);
  void* second = take_frame(1420);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
  give_back_frame(second, 1420);
  give_back_frame(other, 200);
}

TEST(FrameMemory, EveryFrameHasAllOfItsBytesToItself) {
  std::vector<std::pair<char*, size_t>> frames;
  for (size_t size = 1; size < 9000; size += 61) {
    auto* frame = static_cast<char*>(take_frame(size));
    std::memset(frame, static_cast<int>(size & 0x7f), size);
    frames.emplace_back(frame, size);
  }
  for (const auto& [frame, size] : frames) {
    EXPECT_EQ(frame[0], static_cast<char>(size & 0x7f));
    EXPECT_EQ(frame[size - 1], static_cast<char>(size & 0x7f));
    give_back_frame(frame, size);
  }
}

TEST(FrameMemory, MayBeGivenBackOnAnotherThread) {
  std::vector<void*> frames;
  for (int i = 0; i < 200; ++i) frames.push_back(take_frame(700));
  std::thread([&] {
    for (void* frame : frames) give_back_frame(frame, 700);
    void* again = take_frame(700);
    EXPECT_TRUE(std::set<void*>(frames.begin(), frames.end()).contains(again));
    give_back_frame(again, 700);
  }).join();
}

TEST(FrameMemory, CoroutinesLiveInIt) {
  constexpr size_t kStep = 128, kLargest = 6144;
  std::vector<char*> blocks;
  for (size_t size = kStep; size <= kLargest; size += kStep) blocks.push_back(static_cast<char*>(take_frame(size)));
  for (size_t i = 0; i < blocks.size(); ++i) give_back_frame(blocks[i], (i + 1) * kStep);
  asio::io_context io(1);
  auto leaf = [](const char* place) -> Task<const char*> { co_return place; };
  const char* inside = nullptr;
  auto root = [&]() -> Task<> {
    char local = 'x';  // lives across the await, so in the frame
    inside = co_await leaf(&local);
    EXPECT_EQ(*inside, 'x');
  };
  asio::co_spawn(io, root(), asio::detached);
  io.run();
  bool found = false;
  for (size_t i = 0; i < blocks.size(); ++i) found |= inside >= blocks[i] && inside < blocks[i] + (i + 1) * kStep;
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace tapdeck::net

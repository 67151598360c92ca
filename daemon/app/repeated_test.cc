#include "daemon/app/repeated.h"

#include <gtest/gtest.h>

#include <future>

namespace tapdeck::app {
namespace {

using namespace std::chrono_literals;

TEST(Repeated, ActsUntilItWasTheLastTime) {
  std::promise<void> last;
  int times = 0;
  Repeated repeated;
  ASSERT_TRUE(repeated.start("test", 0ms, [&]() -> std::optional<std::chrono::milliseconds> {
    if (++times < 3) return 0ms;
    last.set_value();  // a fourth time would throw
    return std::nullopt;
  }));
  last.get_future().wait();
}

TEST(Repeated, EndsWithoutWaitingForItsPause) {
  bool acted = false;
  {
    Repeated repeated;
    ASSERT_TRUE(repeated.start("test", 1h, [&] {
      acted = true;
      return std::optional(1h);
    }));
  }
  EXPECT_FALSE(acted);
}

}  // namespace
}  // namespace tapdeck::app

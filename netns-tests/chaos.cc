#include "netns-tests/chaos.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "netns-tests/eventually.h"

namespace tapdeck::lab {

int chaos_repeats() {
  const char* given = std::getenv("TAPDECK_CHAOS_REPEAT");
  const int times = given != nullptr ? std::atoi(given) : 0;
  return times > 0 ? times : 20;
}

void expect_no_connection_left(const DaemonProcess& daemon) {
  EXPECT_TRUE(eventually(10s, [&] { return daemon.metric("tapdeck_active_connections") == 0; }))
      << daemon.metric("tapdeck_active_connections");
}

}  // namespace tapdeck::lab

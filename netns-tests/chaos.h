// What the chaos tests share: how often the bad thing happens, and that nothing of it is left. Thread: one.
#pragma once

#include "netns-tests/daemon_process.h"

namespace tapdeck::lab {

// TAPDECK_CHAOS_REPEAT, 20 when it is not set.
[[nodiscard]] int chaos_repeats();
// tapdeck_active_connections comes back to 0.
void expect_no_connection_left(const DaemonProcess& daemon);

}  // namespace tapdeck::lab

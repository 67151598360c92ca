// What systemd is doing with the unit that this process belongs to: `systemctl restart` stops a service as `systemctl
// stop` does and says so nowhere in the environment of ExecStopPost, but its job is another (systemd 252).
//
// Thread: any; the call blocks for as long as systemctl takes, two seconds at most.
#pragma once

#include <string_view>

namespace tapdeck::app {

// The unit of a /proc/self/cgroup ("0::/system.slice/tapdeck.service"): the last part of the path that names one.
// Empty: none.
[[nodiscard]] std::string_view unit_of(std::string_view cgroups);
// In what `systemctl list-jobs` prints, this unit is to be started again.
[[nodiscard]] bool is_restart(std::string_view jobs, std::string_view unit);

// Our unit is being stopped only to be started again. False also when systemd cannot be asked.
[[nodiscard]] bool is_being_restarted();

}  // namespace tapdeck::app

// Capabilities: which of those that capture needs this process has not, so that the first refused call need not be
// explained by its errno. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

// "CAP_BPF, CAP_NET_ADMIN": the daemon's capabilities that are not effective in `proc_status`, the text of
// /proc/PID/status; empty when none is missing.
[[nodiscard]] std::string missing_capabilities(std::string_view proc_status);
[[nodiscard]] std::string missing_capabilities();  // of this process

// Permission, naming all that are missing and what to do, when one is missing without which nothing can be captured.
// Without CAP_SYS_PTRACE and CAP_SYS_CHROOT capture works; trust cannot be bound everywhere.
[[nodiscard]] Result<void> may_capture(const std::string& missing);

}  // namespace tapdeck::kernel

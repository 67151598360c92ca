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
// Of this process. In a user namespace, whose root has all of them, those that the kernel asks of the host's.
[[nodiscard]] std::string missing_capabilities();
// What is missing in `user_namespace`, the text of the link /proc/PID/ns/user, of a process that lacks `missing` there.
// Empty: taken for the host's.
[[nodiscard]] std::string missing_in(std::string_view user_namespace, std::string missing);

// Permission, naming all that are missing and what to do, when one is missing without which nothing can be captured.
// Without CAP_SYS_PTRACE, CAP_SYS_CHROOT and CAP_DAC_READ_SEARCH capture works; trust cannot be bound everywhere.
[[nodiscard]] Result<void> may_capture(const std::string& missing);

}  // namespace tapdeck::kernel

// The kernel's age: what is refused by a kernel older than those tapdeck is made for is refused for that reason,
// whatever the errno says. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck::kernel {

// As uname says: "6.1.0-13-amd64".
[[nodiscard]] std::string kernel_release();
// Older than 5.15, the oldest that is supported; so is what is no release.
[[nodiscard]] bool is_too_old(std::string_view release);
// " (Linux 5.4.0 is older than 5.15)", to be put behind the error of a refused BPF call; empty on a supported kernel.
[[nodiscard]] std::string too_old_remark();

}  // namespace tapdeck::kernel

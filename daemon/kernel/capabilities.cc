#include "daemon/kernel/capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

namespace tapdeck::kernel {
namespace {

struct Needed {
  int bit;
  const char* name;
};
constexpr std::array kNeeded = {Needed{CAP_BPF, "CAP_BPF"}, Needed{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                Needed{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, Needed{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
                                Needed{CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}};

std::string missing_of(uint64_t effective) {
  std::string missing;
  for (const Needed& one : kNeeded) {
    if ((effective >> one.bit & 1) == 0) missing += (missing.empty() ? "" : ", ") + std::string(one.name);
  }
  return missing;
}

}  // namespace

std::string missing_capabilities(std::string_view proc_status) {
  constexpr std::string_view kField = "CapEff:";
  const size_t at = proc_status.find(kField);
  const uint64_t effective =
      at == std::string_view::npos
          ? 0
          : std::strtoull(std::string(proc_status.substr(at + kField.size(), 20)).c_str(), nullptr, 16);
  return missing_of(effective);
}

// Asked of the kernel, not read from /proc: that takes a descriptor, and without one left nothing else would be
// missing.
std::string missing_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return missing_of(0);
  return missing_of(static_cast<uint64_t>(data[1].effective) << 32 | data[0].effective);
}

Result<void> may_capture(const std::string& missing) {
  for (const char* name : {"CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"}) {
    if (missing.find(name) == std::string::npos) continue;
    return fail(Code::Permission,
                "capture needs privileges that this process has not: " + missing +
                    "; no capture path works without them yet: run it as root (sudo), or see what works here: tapdeck "
                    "doctor; without them clients that are given a proxy can be served (proxy.listen in the "
                    "configuration, tapdeck serve), recordings looked at, imported and exported (tapdeck recording, "
                    "tapdeck session), and a configuration checked (tapdeck config check)",
                Origin::Kernel);
  }
  return {};
}

}  // namespace tapdeck::kernel

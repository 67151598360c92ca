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
constexpr std::array kNeeded = {Needed{CAP_BPF, "CAP_BPF"},
                                Needed{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                Needed{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                                Needed{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
                                Needed{CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
                                Needed{CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"}};
constexpr std::array kCapture = {"CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"};
// PROC_USER_INIT_INO of linux/proc_ns.h: the same on every host since Linux 3.8.
constexpr std::string_view kHostNamespace = "user:[4026531837]";

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

std::string missing_in(std::string_view user_namespace, std::string missing) {
  if (user_namespace.empty() || user_namespace == kHostNamespace) return missing;
  std::string names;
  for (const char* name : kCapture) names += (names.empty() ? "" : ", ") + std::string(name);
  return names + " of the host: this is a user namespace";
}

// Asked of the kernel, not read from files of /proc: that takes a descriptor, and without one left nothing else would
// be missing.
std::string missing_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return missing_of(0);
  char link[64];
  const ssize_t length = ::readlink("/proc/self/ns/user", link, sizeof link);
  return missing_in({link, length > 0 ? static_cast<size_t>(length) : 0},
                    missing_of(static_cast<uint64_t>(data[1].effective) << 32 | data[0].effective));
}

Result<void> may_capture(const std::string& missing) {
  for (const char* name : kCapture) {
    if (missing.find(name) == std::string::npos) continue;
    const bool is_nested = missing.find("user namespace") != std::string::npos;
    return fail(Code::Permission,
                "capture needs privileges that this process has not: " + missing + "; run it as root " +
                    (is_nested ? "outside of that" : "(sudo)") +
                    ", or see what works here: tapdeck doctor; without them one command can be captured (tapdeck run "
                    "--capture netns), clients that are given a proxy can be served (proxy.listen in the "
                    "configuration, tapdeck serve), recordings looked at, imported and exported (tapdeck recording, "
                    "tapdeck session), and a configuration checked (tapdeck config check)",
                Origin::Kernel);
  }
  return {};
}

}  // namespace tapdeck::kernel

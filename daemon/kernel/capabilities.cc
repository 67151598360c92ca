#include "daemon/kernel/capabilities.h"

#include <linux/capability.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace tapdeck::kernel {
namespace {

struct Needed {
  int bit;
  const char* name;
};
constexpr std::array kNeeded = {Needed{CAP_BPF, "CAP_BPF"}, Needed{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                Needed{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, Needed{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
                                Needed{CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}};

}  // namespace

std::string missing_capabilities(std::string_view proc_status) {
  constexpr std::string_view kField = "CapEff:";
  const size_t at = proc_status.find(kField);
  const uint64_t effective =
      at == std::string_view::npos
          ? 0
          : std::strtoull(std::string(proc_status.substr(at + kField.size(), 20)).c_str(), nullptr, 16);
  std::string missing;
  for (const Needed& one : kNeeded) {
    if ((effective >> one.bit & 1) == 0) missing += (missing.empty() ? "" : ", ") + std::string(one.name);
  }
  return missing;
}

std::string missing_capabilities() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/status").rdbuf();
  return missing_capabilities(text.str());
}

Result<void> may_capture(const std::string& missing) {
  for (const char* name : {"CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"}) {
    if (missing.find(name) == std::string::npos) continue;
    return fail(Code::Permission,
                "capture needs privileges that this process has not: " + missing +
                    "; run it as root (sudo), or see what works here: tapdeck doctor",
                Origin::Kernel);
  }
  return {};
}

}  // namespace tapdeck::kernel

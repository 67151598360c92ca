#include "daemon/kernel/kernel_version.h"

#include <sys/utsname.h>

#include <cstdio>

namespace tapdeck::kernel {

std::string kernel_release() {
  utsname name{};
  ::uname(&name);
  return name.release;
}

bool is_too_old(std::string_view release) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(std::string(release).c_str(), "%d.%d", &major, &minor) != 2) return true;
  return major < 5 || (major == 5 && minor < 15);
}

std::string too_old_remark() {
  const std::string release = kernel_release();
  return is_too_old(release) ? " (Linux " + release + " is older than 5.15)" : "";
}

}  // namespace tapdeck::kernel

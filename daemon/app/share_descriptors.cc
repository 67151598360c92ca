#include "daemon/app/share_descriptors.h"

#include <sys/resource.h>

#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

// One to its client and one to its origin.
constexpr uint64_t kForConnection = 2;

// Not the 1,024 that shells begin with.
void use_all(rlimit& files) {
  if (files.rlim_cur >= files.rlim_max) return;
  const rlim_t before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &files) == 0) return;
  files.rlim_cur = before;
  log::warn("descriptors.limit", "the soft limit of open files stays as it is");
}

}  // namespace

void share_descriptors(uint64_t connections, unsigned workers, TellOfFew tell) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  use_all(files);
  const DescriptorBounds bounds = descriptor_bounds_of(files.rlim_cur, workers);
  set_descriptor_bounds(bounds);
  const bool are_few = kForConnection * connections > static_cast<uint64_t>(bounds.accepting);
  if (!are_few || tell == TellOfFew::No) return;
  log::warn("descriptors.few",
            "fewer files can be open than limits.connections may need, two each: accepting pauses when they are used "
            "up (raise LimitNOFILE, or lower limits.connections)",
            {{"connections", connections}, {"descriptors", bounds.accepting}});
}

}  // namespace tapdeck::app

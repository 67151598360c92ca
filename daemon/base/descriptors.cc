#include "daemon/base/descriptors.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace tapdeck {
namespace {

// What the store opens while clients have all the others: tables, blob files and a log, and their successors while both
// are there; beside it the admin API, targets that come, and name servers.
constexpr uint64_t kKept = 64;
constexpr uint64_t kKeptForWorker = 2;

std::atomic<int> accepting{INT_MAX}, serving{INT_MAX};

}  // namespace

DescriptorBounds descriptor_bounds_of(uint64_t limit, unsigned workers) {
  limit = std::min<uint64_t>(limit, INT_MAX);  // RLIM_INFINITY
  const uint64_t kept = std::min(limit / 4, kKept + kKeptForWorker * workers);
  return {static_cast<int>(limit - kept), static_cast<int>(limit - kept / 2)};
}

void set_descriptor_bounds(DescriptorBounds bounds) {
  accepting = bounds.accepting;
  serving = bounds.serving;
}

DescriptorBounds descriptor_bounds() {
  return {accepting.load(std::memory_order_relaxed), serving.load(std::memory_order_relaxed)};
}

bool has_descriptors(unsigned wanted) {
  std::vector<UniqueFd> opened;
  opened.reserve(wanted);
  while (opened.size() < wanted) {
    UniqueFd one(::eventfd(0, EFD_CLOEXEC));
    if (!one) return false;
    opened.push_back(std::move(one));
  }
  return true;
}

}  // namespace tapdeck

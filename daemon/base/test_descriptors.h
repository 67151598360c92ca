// For tests: a process that may open few descriptors more, and what it keeps of them.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "daemon/base/descriptors.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck {

// The number that is given when so many more are open.
inline int descriptor_after(int more) {
  std::vector<UniqueFd> next;
  for (int i = 0; i <= more; ++i) next.emplace_back(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  return next.back().get();
}

// While it lives, none is opened whose number is the bound or greater.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(int bound) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{static_cast<rlim_t>(bound), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

// While it lives, the bounds are those.
class BoundDescriptors {
 public:
  explicit BoundDescriptors(DescriptorBounds bounds) { set_descriptor_bounds(bounds); }
  ~BoundDescriptors() { set_descriptor_bounds({}); }
  BoundDescriptors(const BoundDescriptors&) = delete;
  BoundDescriptors& operator=(const BoundDescriptors&) = delete;
};

}  // namespace tapdeck

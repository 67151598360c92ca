// Descriptors: how many of them clients leave to the store and to the admin API, which would stand still without.
//
// The kernel gives the lowest free number, so that the number of a new one says how many are open and nobody has to
// count. Set once, before the first client. Thread: any.
#pragma once

#include <climits>
#include <cstdint>

namespace tapdeck {

// What is opened for clients is closed again when it has one of these numbers or a greater one.
struct DescriptorBounds {
  int accepting = INT_MAX;  // of new clients
  int serving = INT_MAX;    // of what is opened for those that are served: sockets towards origins, pipes
};

// Of `limit` that may be open (RLIMIT_NOFILE) 64 and two a worker are kept from new clients, of a small limit a
// quarter; half of them also from what is opened for those that are served.
[[nodiscard]] DescriptorBounds descriptor_bounds_of(uint64_t limit, unsigned workers);

void set_descriptor_bounds(DescriptorBounds bounds);
// Nothing is kept until they are set.
[[nodiscard]] DescriptorBounds descriptor_bounds();

// Whether so many could be opened now.
[[nodiscard]] bool has_descriptors(unsigned wanted);

}  // namespace tapdeck

// The descriptors of this process at its start: as many as the host allows, and some of them left by clients.
// Thread: the main one.
#pragma once

#include <cstdint>

namespace tapdeck::app {

// Whether the log says that so many connections cannot be open at once.
enum class TellOfFew : uint8_t { No, Yes };

// Raises the soft limit to the hard one and sets what clients leave (base/descriptors.h). A command that `run` starts
// gets the caller's own limit (SignalRelay).
void share_descriptors(uint64_t connections, unsigned workers, TellOfFew tell);

}  // namespace tapdeck::app

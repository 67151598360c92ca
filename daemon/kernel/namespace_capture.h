// A Capture without programs and privileges, for one command in a network namespace of its own, of which every address
// is local: what it connects to arrives at listeners made there, whose local address is the destination.
// Upstream sockets are plain ones of this process's own network namespace. There is no lease: when we are gone nobody
// answers in that namespace, and it has no other way out. Thread: any.
#pragma once

#include <memory>

#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {

// attach_namespace() once; cgroups and interfaces are Unsupported. `sink` outlives the Capture; workers are those that
// listeners are handed to, in turn.
[[nodiscard]] std::unique_ptr<Capture> namespace_capture(ListenerSink& sink, unsigned workers);

}  // namespace tapdeck::kernel

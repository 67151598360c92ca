// A Capture for a process that may not capture: what `serve` has without privileges, for clients of proxy.listen alone.
// Nothing can be attached, which says why; nothing was captured; upstream sockets are plain ones of the own network.
// Thread: any.
#pragma once

#include <memory>

#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {

// `why`: what attaching answers.
[[nodiscard]] std::unique_ptr<Capture> no_capture(Error why);

}  // namespace tapdeck::kernel

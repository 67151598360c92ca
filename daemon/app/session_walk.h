// A session read whole, a page at a time: for what is made of all its recordings (refusals.h, session_names.h).
//
// Takes as long as there are recordings, so never on a worker's thread. Thread: any.
#pragma once

#include <functional>
#include <string>

#include "daemon/base/result.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

// A session that is recorded into meanwhile is walked through at most for a twentieth of the time: after a walk, so
// many times its duration pass before the next.
inline constexpr int kRestOfWalks = 20;

// The oldest first. Errors: ExchangeStore::list_recordings's; some may have been seen then.
[[nodiscard]] Result<void> each_recording(const store::ExchangeStore& store, const std::string& session,
                                          const std::function<void(const store::Recording&)>& see);

// Nothing was recorded or deleted between two looks.
[[nodiscard]] bool holds_the_same(const store::SessionInfo& a, const store::SessionInfo& b);

}  // namespace tapdeck::app

// Sending a Rendition: the parts of a recorded response that are not as they were recorded.
//
// Bodies of up to kCachedBody recorded and kWholeRecoded sent bytes go out with their length; longer ones are decoded
// while they are sent, a piece at a time. Thread: the worker's.
#pragma once

#include <memory>

#include "daemon/modes/rendition.h"
#include "daemon/modes/replay_item.h"

namespace tapdeck::modes {

inline constexpr uint64_t kWholeRecoded = 16ULL << 20;

net::Task<Result<void>> send_rendition(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                       Rendition rendition, const store::ExchangeStore& store,
                                       net::ThreadPool& readers);

}  // namespace tapdeck::modes

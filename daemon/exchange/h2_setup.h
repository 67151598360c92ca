// What every HTTP/2 codec of the daemon is given beside its limits: a clock for its budgets, and a metric and a log
// line for peers that pass them. Thread: the worker's.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/metrics.h"
#include "daemon/http/h2_codec.h"

namespace tapdeck::exchange {

// `peer` names it in the log; `metrics` outlives the codec. `streams`: H2Options::max_streams.
[[nodiscard]] http::H2Options h2_options(Metrics& metrics, std::string peer, uint32_t streams);

}  // namespace tapdeck::exchange

// Exporter: a MetricsSnapshot as a Prometheus text page (format 0.0.4), through prometheus-cpp's serializer.
//
// It counts nothing itself, but adds the standard process_* metrics and tapdeck_build_info. Thread: the admin thread.
#pragma once

#include <string>

#include "daemon/base/metrics.h"

namespace tapdeck::admin {

// The body of GET /metrics.
[[nodiscard]] std::string render_metrics(MetricsRegistry& registry);

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace tapdeck::admin

// The names of everything that can be counted: one row for each value of Counter, Gauge and Histogram.
//
// Rows of one family stand together and the first carries the help text. Used by the exporter in admin/ and by the
// test that compares docs/METRICS.md with it. Not included by code that counts. Thread: any; constants.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "daemon/base/metrics.h"

namespace tapdeck {

struct Label {
  std::string_view name;
  std::string_view value;
};

template <class Id>
struct MetricRow {
  Id id;
  std::string_view family;
  std::string_view help;  // empty: same family as the row before
  std::array<Label, 2> labels{};
  double unit = 1;  // of what is counted, in the family's
};

// In the order of the enums; index = value. Those of is_by_target() have a label `target`, too.
[[nodiscard]] std::span<const MetricRow<Counter>> counter_rows();
[[nodiscard]] std::span<const MetricRow<Gauge>> gauge_rows();
[[nodiscard]] std::span<const MetricRow<Histogram>> histogram_rows();

// Families whose series are computed, not listed row by row.
struct FamilyText {
  std::string_view family;
  std::string_view help;
  std::string_view type;    // "counter" | "gauge" | "histogram"
  std::string_view labels;  // comma separated, for the documentation test
};
inline constexpr FamilyText kRequestsFamily = {"tapdeck_requests_total",
                                               "Exchanges by target, mode, outcome and class of the status code.",
                                               "counter", "target,mode,outcome,code_class"};
inline constexpr FamilyText kRequestDurationFamily = {
    "tapdeck_request_duration_seconds", "Time from a request's complete head to the last byte its client was sent.",
    "histogram", "mode,outcome"};
inline constexpr FamilyText kConnectionsFamily = {
    "tapdeck_connections_total",
    "Client connections, counted when their protocol is known or they end before; not what CONNECT opens inside one.",
    "counter", "path,protocol,tls"};
inline constexpr FamilyText kBuildInfoFamily = {"tapdeck_build_info", "Always 1; the labels say what was built.",
                                                "gauge", "version,revision,compiler"};
inline constexpr FamilyText kTargetInfoFamily = {
    "tapdeck_target_info", "Always 1 for a target that is attached, or waits to be attached again; the labels say how.",
    "gauge", "target,path,mode,sealed"};

// Upper bound of the series one scrape can show with every target slot in use. docs/METRICS.md states it.
[[nodiscard]] size_t max_series();

}  // namespace tapdeck

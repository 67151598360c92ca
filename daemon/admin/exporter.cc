#include "daemon/admin/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <set>
#include <vector>

#include "daemon/admin/process_stats.h"
#include "daemon/base/log.h"
#include "daemon/base/metrics_table.h"
#include "daemon/base/revision.h"

namespace tapdeck::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::string_view kCodeClassNames[kCodeClasses] = {"1xx", "2xx", "3xx", "4xx", "5xx", "none"};

MetricFamily family_of(std::string_view name, std::string_view help, MetricType type) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

void label(ClientMetric& metric, std::string_view name, std::string_view value) {
  if (!name.empty()) metric.label.push_back({std::string(name), std::string(value)});
}

ClientMetric& add_series(MetricFamily& family, MetricType type, double value) {
  ClientMetric& metric = family.metric.emplace_back();
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

ClientMetric& add_histogram(MetricFamily& family, const HistogramSnapshot& from, std::span<const double> buckets) {
  ClientMetric& metric = family.metric.emplace_back();
  uint64_t cumulative = 0;
  for (size_t i = 0; i <= buckets.size(); ++i) {
    cumulative += from.counts[i];
    const double bound = i < buckets.size() ? buckets[i] : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = from.sum_seconds;
  return metric;
}

// Sums the workers' arrays when asked, and shapes them by the tables.
class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(MetricsRegistry& registry) : registry_(registry) {}

  std::vector<MetricFamily> Collect() const override {
    MetricsSnapshot snapshot = registry_.snapshot();
    snapshot.add(Counter::LogSuppressed, log::suppressed());
    std::vector<MetricFamily> out;
    build_info(out);
    target_info(out, snapshot);
    requests(out, snapshot);
    request_durations(out, snapshot);
    connections(out, snapshot);
    counters(out, snapshot);
    gauges(out, snapshot);
    histograms(out, snapshot);
    process(out);
    return out;
  }

 private:
  static void build_info(std::vector<MetricFamily>& out) {
    MetricFamily& family =
        out.emplace_back(family_of(kBuildInfoFamily.family, kBuildInfoFamily.help, MetricType::Gauge));
    ClientMetric& metric = add_series(family, MetricType::Gauge, 1);
    label(metric, "version", TAPDECK_VERSION);
    label(metric, "revision", revision());
    label(metric, "compiler", "clang-" + std::to_string(__clang_major__));
  }

  // One a name, so that others can be joined with it.
  static void target_info(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    MetricFamily& family =
        out.emplace_back(family_of(kTargetInfoFamily.family, kTargetInfoFamily.help, MetricType::Gauge));
    std::set<TargetSlot> told = {kOtherTarget};
    for (const TargetInfo& target : snapshot.targets) {
      if (!told.insert(target.label).second) continue;
      ClientMetric& metric = add_series(family, MetricType::Gauge, 1);
      label(metric, "target", name_of(snapshot, target.label));
      label(metric, "path", to_string(target.path));
      label(metric, "mode", to_string(target.mode));
      label(metric, "sealed", target.sealed ? "yes" : "no");
    }
  }

  static std::string name_of(const MetricsSnapshot& snapshot, size_t slot) {
    const std::string& name = snapshot.target_names[slot];
    return name.empty() ? "slot" + std::to_string(slot) : name;
  }
  // Its series show before they count anything.
  static bool is_named(const MetricsSnapshot& snapshot, size_t slot) {
    return slot != kOtherTarget && !snapshot.target_names[slot].empty();
  }

  // A named target shows its possible outcomes from the first scrape, so that rates see the first event; other code
  // classes appear when they happen.
  static void requests(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    MetricFamily& family =
        out.emplace_back(family_of(kRequestsFamily.family, kRequestsFamily.help, MetricType::Counter));
    for (size_t slot = 0; slot < kTargetSlots; ++slot) {
      for (size_t i = 0; i < kModeCount * kOutcomeCount * kCodeClasses; ++i) {
        const size_t code = i % kCodeClasses;
        const auto outcome = static_cast<Outcome>(i / kCodeClasses % kOutcomeCount);
        const auto mode = static_cast<Mode>(i / kCodeClasses / kOutcomeCount);
        const uint64_t value =
            snapshot.requests[Metrics::request_index(static_cast<TargetSlot>(slot), mode, outcome, code)];
        const bool expected = is_named(snapshot, slot) && can_produce(mode, outcome) && code == 1;
        if (value == 0 && !expected) continue;
        ClientMetric& metric = add_series(family, MetricType::Counter, static_cast<double>(value));
        label(metric, "target", name_of(snapshot, slot));
        label(metric, "mode", to_string(mode));
        label(metric, "outcome", to_string(outcome));
        label(metric, "code_class", kCodeClassNames[code]);
      }
    }
  }

  static void request_durations(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    MetricFamily& family =
        out.emplace_back(family_of(kRequestDurationFamily.family, kRequestDurationFamily.help, MetricType::Histogram));
    for (size_t i = 0; i < kRequestHistograms; ++i) {
      const auto mode = static_cast<Mode>(i / kOutcomeCount);
      const auto outcome = static_cast<Outcome>(i % kOutcomeCount);
      if (!can_produce(mode, outcome)) continue;
      ClientMetric& metric = add_histogram(family, snapshot.request_durations[i], kRequestBuckets);
      label(metric, "mode", to_string(mode));
      label(metric, "outcome", to_string(outcome));
    }
  }

  static void connections(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    static constexpr std::string_view kProtocols[] = {"h1", "h2", "tunnel", "none"};
    MetricFamily& family =
        out.emplace_back(family_of(kConnectionsFamily.family, kConnectionsFamily.help, MetricType::Counter));
    for (size_t i = 0; i < kConnectionSeries; ++i) {
      ClientMetric& metric = add_series(family, MetricType::Counter, static_cast<double>(snapshot.connections[i]));
      label(metric, "path", to_string(static_cast<CapturePath>(i / (kConnectionProtocols * 2))));
      label(metric, "protocol", kProtocols[i / 2 % kConnectionProtocols]);
      label(metric, "tls", i % 2 == 0 ? "no" : "yes");
    }
  }

  static void counters(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    for (const auto& row : counter_rows()) {
      if (!row.help.empty()) out.push_back(family_of(row.family, row.help, MetricType::Counter));
      if (is_by_target(row.id)) {
        of_targets(out.back(), row, snapshot);
        continue;
      }
      const double value = static_cast<double>(snapshot.value(row.id)) * row.unit;
      ClientMetric& metric = add_series(out.back(), MetricType::Counter, value);
      for (const Label& l : row.labels) label(metric, l.name, l.value);
    }
  }

  static void of_targets(MetricFamily& family, const MetricRow<Counter>& row, const MetricsSnapshot& snapshot) {
    for (size_t slot = 0; slot < kTargetSlots; ++slot) {
      const uint64_t value = snapshot.by_target[Metrics::target_index(static_cast<TargetSlot>(slot), row.id)];
      if (value == 0 && !is_named(snapshot, slot)) continue;
      ClientMetric& metric = add_series(family, MetricType::Counter, static_cast<double>(value) * row.unit);
      label(metric, "target", name_of(snapshot, slot));
      for (const Label& l : row.labels) label(metric, l.name, l.value);
    }
  }

  static void gauges(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    for (const auto& row : gauge_rows()) {
      if (!row.help.empty()) out.push_back(family_of(row.family, row.help, MetricType::Gauge));
      ClientMetric& metric = add_series(out.back(), MetricType::Gauge, snapshot.value(row.id));
      for (const Label& l : row.labels) label(metric, l.name, l.value);
    }
  }

  static void histograms(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    for (const auto& row : histogram_rows()) {
      if (!row.help.empty()) out.push_back(family_of(row.family, row.help, MetricType::Histogram));
      ClientMetric& metric =
          add_histogram(out.back(), snapshot.histograms[static_cast<size_t>(row.id)], buckets_of(row.id));
      for (const Label& l : row.labels) label(metric, l.name, l.value);
    }
  }

  static void process(std::vector<MetricFamily>& out) {
    for (const ProcessStat& stat : read_process_stats()) {
      const MetricType type = stat.is_counter ? MetricType::Counter : MetricType::Gauge;
      add_series(out.emplace_back(family_of(stat.name, stat.help, type)), type, stat.value);
    }
  }

  MetricsRegistry& registry_;
};

}  // namespace

std::string render_metrics(MetricsRegistry& registry) {
  return prometheus::TextSerializer().Serialize(Collector(registry).Collect());
}

}  // namespace tapdeck::admin

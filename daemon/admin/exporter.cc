#include "daemon/admin/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <vector>

#include "daemon/admin/process_stats.h"
#include "daemon/base/log.h"
#include "daemon/base/metrics_table.h"

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
    requests(out, snapshot);
    request_durations(out, snapshot);
    connections(out, snapshot);
    rows(out, counter_rows(), MetricType::Counter, [&](Counter id) { return static_cast<double>(snapshot.value(id)); });
    rows(out, gauge_rows(), MetricType::Gauge, [&](Gauge id) { return snapshot.value(id); });
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
    label(metric, "compiler", "clang-" + std::to_string(__clang_major__));
  }

  // A named target shows its possible outcomes from the first scrape, so that rates see the first event; other code
  // classes appear when they happen.
  static void requests(std::vector<MetricFamily>& out, const MetricsSnapshot& snapshot) {
    MetricFamily& family =
        out.emplace_back(family_of(kRequestsFamily.family, kRequestsFamily.help, MetricType::Counter));
    for (size_t slot = 0; slot < kTargetSlots; ++slot) {
      const std::string& target = snapshot.target_names[slot];
      for (size_t i = 0; i < kModeCount * kOutcomeCount * kCodeClasses; ++i) {
        const size_t code = i % kCodeClasses;
        const auto outcome = static_cast<Outcome>(i / kCodeClasses % kOutcomeCount);
        const auto mode = static_cast<Mode>(i / kCodeClasses / kOutcomeCount);
        const uint64_t value =
            snapshot.requests[Metrics::request_index(static_cast<TargetSlot>(slot), mode, outcome, code)];
        const bool expected = !target.empty() && slot != kOtherTarget && can_produce(mode, outcome) && code == 1;
        if (value == 0 && !expected) continue;
        ClientMetric& metric = add_series(family, MetricType::Counter, static_cast<double>(value));
        label(metric, "target", target.empty() ? "slot" + std::to_string(slot) : target);
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

  template <class Row, class Value>
  static void rows(std::vector<MetricFamily>& out, std::span<const Row> table, MetricType type, Value value) {
    for (const Row& row : table) {
      if (!row.help.empty()) out.push_back(family_of(row.family, row.help, type));
      ClientMetric& metric = add_series(out.back(), type, value(row.id));
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

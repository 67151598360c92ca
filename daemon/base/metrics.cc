#include "daemon/base/metrics.h"

#include <algorithm>

namespace tapdeck {

std::span<const double> buckets_of(Histogram histogram) {
  switch (histogram) {
    case Histogram::UpstreamDns:
    case Histogram::UpstreamConnect:
    case Histogram::UpstreamTls:
    case Histogram::UpstreamFirstByte:
      return kRequestBuckets;
    default:
      return kOverheadBuckets;
  }
}

MetricsRegistry::MetricsRegistry() : shared_(std::make_unique<Metrics>()), target_names_(kTargetSlots) {
  target_names_[kOtherTarget] = "other";
}
MetricsRegistry::~MetricsRegistry() = default;

Metrics& MetricsRegistry::create() {
  const std::lock_guard lock(mutex_);
  return *arrays_.emplace_back(std::make_unique<Metrics>());
}

void MetricsRegistry::add(Counter counter, uint64_t n) noexcept {
  shared_->counters_[static_cast<size_t>(counter)].fetch_add(n, std::memory_order_relaxed);
}

TargetSlot MetricsRegistry::target_slot(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (target_names_[kOtherTarget] == name) return kOtherTarget;
  for (size_t slot = 0; slot < kOtherTarget; ++slot) {
    if (target_names_[slot] == name) return static_cast<TargetSlot>(slot);
    if (target_names_[slot].empty()) {
      target_names_[slot] = name;
      return static_cast<TargetSlot>(slot);
    }
  }
  return kOtherTarget;
}

void MetricsRegistry::add_source(GaugeSource& source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(&source);
}

void MetricsRegistry::remove_source(GaugeSource& source) {
  const std::lock_guard lock(mutex_);
  std::erase(sources_, &source);
}

MetricsSnapshot MetricsRegistry::snapshot() {
  MetricsSnapshot out;
  out.requests.resize(kRequestSeries);
  std::array<int64_t, kGaugeCount> gauges{};
  const auto read = [](const std::atomic<uint64_t>& cell) { return cell.load(std::memory_order_relaxed); };
  const auto sum_histogram = [&](HistogramSnapshot& to, const Metrics::HistogramCells& from) {
    for (size_t i = 0; i < to.counts.size(); ++i) to.counts[i] += read(from.counts[i]);
    to.sum_seconds += static_cast<double>(read(from.sum_nanos)) / 1e9;
  };
  const auto sum_array = [&](const Metrics& from) {
    for (size_t i = 0; i < kCounterCount; ++i) out.add(static_cast<Counter>(i), read(from.counters_[i]));
    for (size_t i = 0; i < kTargetSeries; ++i) {
      const auto slot = static_cast<TargetSlot>(i / kTargetCounters);
      out.add(slot, static_cast<Counter>(i % kTargetCounters), read(from.by_target_[i]));
    }
    // Gauges are kept modulo 2^64: a thread may close what another opened.
    for (size_t i = 0; i < kGaugeCount; ++i) gauges[i] += static_cast<int64_t>(read(from.gauges_[i]));
    for (size_t i = 0; i < kHistogramCount; ++i) sum_histogram(out.histograms[i], from.histograms_[i]);
    for (size_t i = 0; i < kRequestHistograms; ++i) sum_histogram(out.request_durations[i], from.request_durations_[i]);
    for (size_t i = 0; i < kConnectionSeries; ++i) out.connections[i] += read(from.connections_[i]);
    for (size_t i = 0; i < kRequestSeries; ++i) out.requests[i] += read(from.requests_[i]);
  };
  const std::lock_guard lock(mutex_);
  for (const auto& array : arrays_) sum_array(*array);
  sum_array(*shared_);
  for (size_t i = 0; i < kGaugeCount; ++i) out.gauges[i] = static_cast<double>(gauges[i]);
  out.target_names = target_names_;
  // Under the lock, so that remove_source() guarantees that no call is still running.
  for (GaugeSource* source : sources_) source->read(out);
  return out;
}

}  // namespace tapdeck

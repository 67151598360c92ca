// Metrics: what tapdeck counts about itself. Each counting thread owns one `Metrics` array; a scrape sums the arrays.
//
// Single writer, relaxed load + store: no read-modify-write and no shared cache line on the data path. What exists is
// a closed enum with one row in metrics_table.cc (family, help, labels); docs/METRICS.md is tested against that table.
// Not an exporter: admin/ turns a MetricsSnapshot into Prometheus text.
// Owner: MetricsRegistry owns every array and outlives all threads. Thread: a Metrics belongs to one thread at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/counters.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck {

// What a connection turned out to speak. None: it ended before that was known.
enum class ConnectionProtocol : uint8_t { H1, H2, Tunnel, None };
inline constexpr size_t kConnectionProtocols = 4;
enum class ConnectionTls : uint8_t { No, Yes };

// Targets have 64 label values; the last is "other" (more targets than that share it).
using TargetSlot = uint8_t;
inline constexpr TargetSlot kOtherTarget = 63;
inline constexpr size_t kTargetSlots = 64;
// Code classes "1xx" .. "5xx", and "none" for exchanges that ended without a status.
inline constexpr size_t kCodeClasses = 6;
// +Inf is apart. Both bucket sets fit; the unused tail stays 0.
inline constexpr size_t kMaxBuckets = 16;

inline constexpr size_t kRequestHistograms = kModeCount * kOutcomeCount;
inline constexpr size_t kRequestSeries = kTargetSlots * kModeCount * kOutcomeCount * kCodeClasses;
inline constexpr size_t kTargetSeries = kTargetSlots * kTargetCounters;
inline constexpr size_t kConnectionSeries = kCapturePathCount * kConnectionProtocols * 2;

// 1 ms .. 60 s for what clients feel; 10 us .. 250 ms for what we add.
inline constexpr std::array<double, 15> kRequestBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                           0.5,   1,      2.5,   5,    10,    30,   60};
inline constexpr std::array<double, 12> kOverheadBuckets = {1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4,
                                                            1e-3, 2.5e-3, 5e-3, 0.01, 0.05,   0.25};
[[nodiscard]] std::span<const double> buckets_of(Histogram histogram);

// One thread's counts. 64-byte aligned so that no two threads write one cache line.
class alignas(64) Metrics {
 public:
  Metrics() = default;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Of one that is told apart by target this counts for "other".
  void add(Counter counter, uint64_t n = 1) noexcept { bump(counters_[static_cast<size_t>(counter)], n); }
  // is_by_target(counter) holds.
  void add(TargetSlot slot, Counter counter, uint64_t n = 1) noexcept {
    bump(by_target_[target_index(slot, counter)], n);
  }
  // Negative n goes down. A connection is +1 and -1 in the array of the same thread.
  void add(Gauge gauge, int64_t n) noexcept { bump(gauges_[static_cast<size_t>(gauge)], static_cast<uint64_t>(n)); }
  void observe(Histogram histogram, double seconds) noexcept {
    observe_in(histograms_[static_cast<size_t>(histogram)], buckets_of(histogram), seconds);
  }
  // Once an exchange, whichever way it ended. status 0: none was sent.
  void count_request(TargetSlot slot, Mode mode, Outcome outcome, int status) noexcept {
    bump(requests_[request_index(slot, mode, outcome, code_class(status))], 1);
  }
  // From the request's complete head to the last byte sent, beside count_request.
  void observe_request(Mode mode, Outcome outcome, double seconds) noexcept {
    observe_in(request_durations_[static_cast<size_t>(mode) * kOutcomeCount + static_cast<size_t>(outcome)],
               kRequestBuckets, seconds);
  }
  // Once a connection, when its protocol is known or when it ends before.
  void count_connection(CapturePath path, ConnectionProtocol protocol, ConnectionTls tls) noexcept {
    bump(connections_[connection_index(path, protocol, tls)], 1);
  }
  void connection_opened(CapturePath path) noexcept { add(active_gauge(path), 1); }
  void connection_closed(CapturePath path) noexcept { add(active_gauge(path), -1); }

  [[nodiscard]] static constexpr Gauge active_gauge(CapturePath path) {
    return static_cast<Gauge>(static_cast<size_t>(Gauge::ActiveCgroup) + path_index(path));
  }
  // Of a `run`, whichever way it captures, nobody reads the page.
  [[nodiscard]] static constexpr size_t path_index(CapturePath path) {
    return static_cast<size_t>(path == CapturePath::Netns ? CapturePath::Cgroup : path);
  }
  // 0..4 for 1xx..5xx, 5 for anything else.
  [[nodiscard]] static constexpr size_t code_class(int status) {
    return status >= 100 && status <= 599 ? static_cast<size_t>(status / 100 - 1) : kCodeClasses - 1;
  }
  [[nodiscard]] static constexpr size_t request_index(TargetSlot slot, Mode mode, Outcome outcome, size_t code) {
    const size_t bounded = slot < kTargetSlots ? slot : kOtherTarget;
    return ((bounded * kModeCount + static_cast<size_t>(mode)) * kOutcomeCount + static_cast<size_t>(outcome)) *
               kCodeClasses +
           code;
  }
  [[nodiscard]] static constexpr size_t target_index(TargetSlot slot, Counter counter) {
    const size_t bounded = slot < kTargetSlots ? slot : kOtherTarget;
    return bounded * kTargetCounters + static_cast<size_t>(counter);
  }
  [[nodiscard]] static constexpr size_t connection_index(CapturePath path, ConnectionProtocol protocol,
                                                         ConnectionTls tls) {
    return (path_index(path) * kConnectionProtocols + static_cast<size_t>(protocol)) * 2 + static_cast<size_t>(tls);
  }

 private:
  friend class MetricsRegistry;
  using Cell = std::atomic<uint64_t>;
  struct HistogramCells {
    std::array<Cell, kMaxBuckets + 1> counts{};  // not cumulative; the cell after the last bucket is +Inf
    Cell sum_nanos{0};
  };

  static void bump(Cell& cell, uint64_t n) noexcept {
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  static void observe_in(HistogramCells& cells, std::span<const double> buckets, double seconds) noexcept {
    size_t i = 0;
    while (i < buckets.size() && seconds > buckets[i]) ++i;
    bump(cells.counts[i], 1);
    bump(cells.sum_nanos, seconds > 0 ? static_cast<uint64_t>(seconds * 1e9) : 0);
  }

  std::array<Cell, kCounterCount> counters_{};
  std::array<Cell, kTargetSeries> by_target_{};
  std::array<Cell, kGaugeCount> gauges_{};
  std::array<HistogramCells, kHistogramCount> histograms_{};
  std::array<HistogramCells, kRequestHistograms> request_durations_{};
  std::array<Cell, kConnectionSeries> connections_{};
  std::array<Cell, kRequestSeries> requests_{};
};

struct HistogramSnapshot {
  std::array<uint64_t, kMaxBuckets + 1> counts{};
  double sum_seconds = 0;
};

// A target as it is set now.
struct TargetInfo {
  TargetSlot label = kOtherTarget;
  CapturePath path = CapturePath::Cgroup;
  Mode mode = Mode::Record;
  bool sealed = false;
};

// The sums of one moment. Values of different cells may be a few events apart.
struct MetricsSnapshot {
  std::array<uint64_t, kCounterCount> counters{};                          // over all targets
  std::vector<uint64_t> by_target = std::vector<uint64_t>(kTargetSeries);  // by Metrics::target_index
  std::vector<TargetInfo> targets;
  std::array<double, kGaugeCount> gauges{};
  std::array<HistogramSnapshot, kHistogramCount> histograms{};
  std::array<HistogramSnapshot, kRequestHistograms> request_durations{};
  std::array<uint64_t, kConnectionSeries> connections{};
  std::vector<uint64_t> requests;         // kRequestSeries, by Metrics::request_index
  std::vector<std::string> target_names;  // by slot; empty = never named. [kOtherTarget] is "other".

  // For GaugeSource: adds to what the arrays say.
  void add(Gauge gauge, double value) { gauges[static_cast<size_t>(gauge)] += value; }
  void add(Counter counter, uint64_t value) {
    if (is_by_target(counter)) return add(kOtherTarget, counter, value);
    counters[static_cast<size_t>(counter)] += value;
  }
  void add(TargetSlot slot, Counter counter, uint64_t value) {
    counters[static_cast<size_t>(counter)] += value;
    by_target[Metrics::target_index(slot, counter)] += value;
  }
  [[nodiscard]] uint64_t value(Counter counter) const { return counters[static_cast<size_t>(counter)]; }
  [[nodiscard]] double value(Gauge gauge) const { return gauges[static_cast<size_t>(gauge)]; }
};

// Asked at every scrape, on the admin thread: store sizes, kernel map figures, BPF per-CPU counters. Must not block
// for long and must be safe to call from that thread.
class GaugeSource {
 public:
  virtual ~GaugeSource() = default;
  virtual void read(MetricsSnapshot& out) = 0;
};

// Owns the arrays. Thread: any, but for the Metrics it hands out.
class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  // A fresh array for one thread; lives as long as the registry (counts never go down when a thread ends).
  [[nodiscard]] Metrics& create();
  // For threads that count rarely and have no array of their own. Atomic read-modify-write.
  void add(Counter counter, uint64_t n = 1) noexcept;

  // The slot of a target's configured name, assigned at first sight; kOtherTarget once 63 names are taken.
  [[nodiscard]] TargetSlot target_slot(std::string_view name);

  // `source` must stay alive until remove_source.
  void add_source(GaugeSource& source);
  void remove_source(GaugeSource& source);

  [[nodiscard]] MetricsSnapshot snapshot();

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Metrics>> arrays_;
  std::unique_ptr<Metrics> shared_;
  std::vector<GaugeSource*> sources_;
  std::vector<std::string> target_names_;
};

}  // namespace tapdeck

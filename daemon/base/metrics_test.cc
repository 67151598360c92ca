#include "daemon/base/metrics.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "daemon/base/metrics_table.h"

namespace tapdeck {
namespace {

TEST(Metrics, SnapshotSumsTheArraysOfAllThreads) {
  MetricsRegistry registry;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&metrics = registry.create()] {
        for (int n = 0; n < 1000; ++n) metrics.add(Counter::UnknownMethod);
        metrics.count_request(0, Mode::Hybrid, Outcome::Replayed, 204);
      });
    }
  }
  registry.add(Counter::UnknownMethod, 7);
  const MetricsSnapshot snapshot = registry.snapshot();
  EXPECT_EQ(snapshot.value(Counter::UnknownMethod), 3007u);
  EXPECT_EQ(snapshot.requests[Metrics::request_index(0, Mode::Hybrid, Outcome::Replayed, 1)], 3u);
}

TEST(Metrics, ActiveConnectionsReturnToZeroAcrossThreads) {
  MetricsRegistry registry;
  Metrics& one = registry.create();
  Metrics& two = registry.create();
  one.connection_opened(CapturePath::Tc);
  EXPECT_EQ(registry.snapshot().value(Gauge::ActiveTc), 1);
  two.connection_closed(CapturePath::Tc);  // closed elsewhere
  EXPECT_EQ(registry.snapshot().value(Gauge::ActiveTc), 0);
}

TEST(Metrics, ObservationFallsIntoTheFirstBucketThatHoldsIt) {
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  metrics.observe(Histogram::LookupHit, 1e-5);    // the bound itself is inside
  metrics.observe(Histogram::LookupHit, 1.1e-5);  // next
  metrics.observe(Histogram::LookupHit, 100);     // +Inf
  const auto histogram = registry.snapshot().histograms[static_cast<size_t>(Histogram::LookupHit)];
  EXPECT_EQ(histogram.counts[0], 1u);
  EXPECT_EQ(histogram.counts[1], 1u);
  EXPECT_EQ(histogram.counts[kOverheadBuckets.size()], 1u);
  EXPECT_NEAR(histogram.sum_seconds, 100.000021, 1e-6);
}

TEST(Metrics, TargetNamesPastTheLastSlotShareOther) {
  MetricsRegistry registry;
  for (int i = 0; i < 63; ++i) EXPECT_EQ(registry.target_slot("t" + std::to_string(i)), i);
  EXPECT_EQ(registry.target_slot("one-more"), kOtherTarget);
  EXPECT_EQ(registry.target_slot("t5"), 5);
  EXPECT_EQ(registry.snapshot().target_names[kOtherTarget], "other");
}

TEST(Metrics, SourcesAreAskedUntilRemoved) {
  struct Source : GaugeSource {
    void read(MetricsSnapshot& out) override {
      out.add(Gauge::StoreBytes, 5);
      out.add(Counter::UncapturedUdp, 2);
    }
  } source;
  MetricsRegistry registry;
  registry.add_source(source);
  EXPECT_EQ(registry.snapshot().value(Gauge::StoreBytes), 5);
  EXPECT_EQ(registry.snapshot().value(Counter::UncapturedUdp), 2u);
  registry.remove_source(source);
  EXPECT_EQ(registry.snapshot().value(Gauge::StoreBytes), 0);
}

TEST(Metrics, ATargetThatIsCalledOtherIsOneOfThem) {
  MetricsRegistry registry;
  EXPECT_EQ(registry.target_slot("other"), kOtherTarget) << "two series with the same labels are none";
}

TEST(Metrics, CountersOfTargetsSumUpAndWhatHasNoTargetIsOther) {
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  metrics.add(3, Counter::MissBody, 2);
  metrics.add(4, Counter::MissBody);
  metrics.add(Counter::MissBody);
  const MetricsSnapshot snapshot = registry.snapshot();
  const auto of = [&](TargetSlot slot) { return snapshot.by_target[Metrics::target_index(slot, Counter::MissBody)]; };
  EXPECT_EQ(snapshot.value(Counter::MissBody), 4U);
  EXPECT_EQ(of(3), 2U);
  EXPECT_EQ(of(4), 1U);
  EXPECT_EQ(of(kOtherTarget), 1U);
}

TEST(Metrics, StatusesFallIntoTheirClass) {
  EXPECT_EQ(Metrics::code_class(100), 0u);
  EXPECT_EQ(Metrics::code_class(599), 4u);
  EXPECT_EQ(Metrics::code_class(0), 5u);
  EXPECT_EQ(Metrics::code_class(600), 5u);
}

TEST(MetricsTable, NoTwoRowsShareFamilyAndLabels) {
  std::set<std::string> seen;
  const auto key = [](const auto& row) {
    std::string text(row.family);
    for (const Label& label : row.labels) text.append("|").append(label.name).append("=").append(label.value);
    return text;
  };
  for (const auto& row : counter_rows()) EXPECT_TRUE(seen.insert(key(row)).second) << key(row);
  for (const auto& row : gauge_rows()) EXPECT_TRUE(seen.insert(key(row)).second) << key(row);
  for (const auto& row : histogram_rows()) EXPECT_TRUE(seen.insert(key(row)).second) << key(row);
}

TEST(Vocabulary, ModesReadBackAsPrintedAndTheAliasIsKnown) {
  for (const Mode mode : {Mode::Record, Mode::Replay, Mode::Hybrid, Mode::Passthrough}) {
    EXPECT_EQ(parse_mode(to_string(mode)), mode);
  }
  EXPECT_EQ(parse_mode("passthrough-cache"), Mode::Hybrid);
  EXPECT_FALSE(parse_mode("Record"));
}

}  // namespace
}  // namespace tapdeck

// The text page against the tables, and docs/METRICS.md against the text page.
#include "daemon/admin/exporter.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "daemon/base/metrics_table.h"
#include "daemon/base/result.h"
#include "daemon/base/revision.h"

namespace tapdeck::admin {
namespace {

struct Family {
  std::string type;
  std::string help;
  friend bool operator==(const Family&, const Family&) = default;
};

std::map<std::string, Family> families_of_page(const std::string& page) {
  std::map<std::string, Family> out;
  std::istringstream in(page);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string hash, what, name, rest;
    words >> hash >> what >> name;
    std::getline(words >> std::ws, rest);
    if (what == "HELP") out[name].help = rest;
    if (what == "TYPE") out[name].type = rest;
  }
  return out;
}

// Rows "| `name` | type | labels | meaning |".
std::map<std::string, Family> families_of_doc(const std::string& text) {
  std::map<std::string, Family> out;
  const std::regex row(R"(\| `(\w+)` \| (\w+) \| ([^|]*)\| ([^|]*) \|)");
  for (std::sregex_iterator i(text.begin(), text.end(), row), end; i != end; ++i) out[(*i)[1]] = {(*i)[2], (*i)[4]};
  return out;
}

std::string read_doc() {
  std::ifstream in(TAPDECK_METRICS_DOC);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t series_of(const std::string& page) {
  std::istringstream in(page);
  size_t count = 0;
  for (std::string line; std::getline(in, line);) count += line.starts_with("tapdeck_") ? 1 : 0;
  return count;
}

using Labels = std::map<std::string, std::set<std::string>>;  // values, by the label's name

// Of every metric whose series have labels.
std::map<std::string, Labels> labels_of_page(const std::string& page) {
  const auto families = families_of_page(page);
  const std::regex series(R"(\n(\w+)\{([^}]*)\})"), suffix("_(bucket|sum|count)$"), label(R"re((\w+)="([^"]*)")re");
  std::map<std::string, Labels> out;
  for (std::sregex_iterator i(page.begin(), page.end(), series), end; i != end; ++i) {
    const std::string name = (*i)[1], labels = (*i)[2];
    Labels& of = out[families.contains(name) ? name : std::regex_replace(name, suffix, "")];
    for (std::sregex_iterator l(labels.begin(), labels.end(), label); l != end; ++l) of[(*l)[1]].insert((*l)[2]);
  }
  for (auto& [family, labels] : out) labels.erase("le");  // the bounds of a histogram
  std::erase_if(out, [](const auto& one) { return one.second.empty(); });
  return out;
}

// Cells "target, reason (udp, quic)": a label without a list may have any value.
std::map<std::string, Labels> labels_of_doc(const std::string& text) {
  const std::regex row(R"(\| `(\w+)` \| \w+ \| ([^|]+) \|)"), label(R"((\w+)(?: \(([^)]*)\))?)"), value("[^, ]+");
  std::map<std::string, Labels> out;
  for (std::sregex_iterator i(text.begin(), text.end(), row), end; i != end; ++i) {
    const std::string name = (*i)[1], cell = (*i)[2];
    for (std::sregex_iterator l(cell.begin(), cell.end(), label); l != end; ++l) {
      const std::string list = (*l)[2];
      std::set<std::string>& values = out[name][(*l)[1]];
      for (std::sregex_iterator v(list.begin(), list.end(), value); v != end; ++v) values.insert(v->str());
    }
  }
  return out;
}

// Every combination that is possible, so that each series shows.
void use_everything(MetricsRegistry& registry) {
  Metrics& metrics = registry.create();
  for (int i = 0; i < 100; ++i) {
    const TargetSlot slot = registry.target_slot("t" + std::to_string(i));
    for (size_t counter = 0; counter < kTargetCounters; ++counter) metrics.add(slot, static_cast<Counter>(counter));
    for (const Mode mode : {Mode::Record, Mode::Replay, Mode::Hybrid, Mode::Passthrough}) {
      for (size_t outcome = 0; outcome < kOutcomeCount; ++outcome) {
        for (const int status : {0, 100, 200, 301, 404, 500}) {
          if (!can_produce(mode, static_cast<Outcome>(outcome))) continue;
          metrics.count_request(slot, mode, static_cast<Outcome>(outcome), status);
        }
      }
    }
  }
}

// Targets of every setting.
struct Settings final : GaugeSource {
  void read(MetricsSnapshot& out) override {
    for (size_t i = 0; i < kCapturePathCount * kModeCount * 2; ++i) {
      const auto path = static_cast<CapturePath>(i / 2 / kModeCount);
      out.targets.push_back({static_cast<TargetSlot>(i), path, static_cast<Mode>(i / 2 % kModeCount), i % 2 == 0});
    }
  }
};

TEST(Exporter, DocumentationAndPageNameTheSameLabelsAndValues) {
  MetricsRegistry registry;
  use_everything(registry);
  Settings settings;
  registry.add_source(settings);
  std::map<std::string, Labels> page = labels_of_page(render_metrics(registry)), doc = labels_of_doc(read_doc());
  for (auto* one : {&page, &doc}) {
    for (auto& [family, labels] : *one) {
      if (labels.contains("target")) labels["target"].clear();  // names that people gave
    }
    for (auto& [name, values] : (*one)["tapdeck_build_info"]) values.clear();
  }
  for (const auto& [family, labels] : page) EXPECT_EQ(doc[family], labels) << family;
  for (const auto& [family, labels] : doc) EXPECT_TRUE(page.contains(family)) << family;
}

TEST(Exporter, DocumentationAndRegistryNameTheSameMetrics) {
  MetricsRegistry registry;
  ignore(registry.target_slot("web"), "named, so that its series show");
  EXPECT_EQ(families_of_doc(read_doc()), families_of_page(render_metrics(registry)));
}

// Tells of one target for each label, and of a second that has the first one's.
struct Targets final : GaugeSource {
  void read(MetricsSnapshot& out) override {
    for (size_t label = 0; label < kTargetSlots; ++label) {
      out.targets.push_back({static_cast<TargetSlot>(label), CapturePath::Tc, Mode::Replay, true});
    }
    out.targets.push_back({0, CapturePath::Cgroup, Mode::Record, false});
  }
};

TEST(Exporter, SeriesStayWithinTheDocumentedBoundWithEveryTargetInUse) {
  MetricsRegistry registry;
  Targets targets;
  registry.add_source(targets);
  use_everything(registry);
  EXPECT_EQ(series_of(render_metrics(registry)), max_series());
  EXPECT_NE(read_doc().find("at most " + std::to_string(max_series()) + " series"), std::string::npos) << max_series();
}

TEST(Exporter, ActiveConnectionsAndRequestsShowTheirLabels) {
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  metrics.connection_opened(CapturePath::Tc);
  metrics.count_request(registry.target_slot("web"), Mode::Replay, Outcome::Missed, 502);
  metrics.observe_request(Mode::Replay, Outcome::Missed, 0.002);
  const std::string page = render_metrics(registry);
  EXPECT_NE(page.find("tapdeck_active_connections{path=\"tc\"} 1\n"), std::string::npos);
  EXPECT_NE(
      page.find("tapdeck_requests_total{target=\"web\",mode=\"replay\",outcome=\"missed\",code_class=\"5xx\"} 1\n"),
      std::string::npos);
  EXPECT_NE(page.find("tapdeck_request_duration_seconds_bucket{mode=\"replay\",outcome=\"missed\",le=\"0.0025\"} 1\n"),
            std::string::npos);
  EXPECT_NE(page.find("tapdeck_request_duration_seconds_count{mode=\"replay\",outcome=\"missed\"} 1\n"),
            std::string::npos);
}

bool has_line(const std::string& page, const std::string& line) {
  return page.contains("\n" + line + "\n");
}

TEST(Exporter, WhatIsCountedByTargetSaysWhichAndBeginsWithZero) {
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  metrics.add(registry.target_slot("web"), Counter::MissBody);
  metrics.add(Counter::SealedRefusedDns);
  const std::string page = render_metrics(registry);
  EXPECT_TRUE(has_line(page, "tapdeck_misses_total{target=\"web\",reason=\"body\"} 1"));
  EXPECT_TRUE(has_line(page, "tapdeck_misses_total{target=\"web\",reason=\"no_key\"} 0"));
  EXPECT_TRUE(has_line(page, "tapdeck_flows_uncaptured_total{target=\"web\",reason=\"lease\"} 0"));
  EXPECT_TRUE(has_line(page, "tapdeck_sealed_refusals_total{target=\"other\",kind=\"dns\"} 1"));
}

TEST(Exporter, EachTargetIsToldOnce) {
  MetricsRegistry registry;
  Targets targets;
  registry.add_source(targets);
  ignore(registry.target_slot("web"), "named");
  const std::string page = render_metrics(registry);
  EXPECT_TRUE(has_line(page, "tapdeck_target_info{target=\"web\",path=\"tc\",mode=\"replay\",sealed=\"yes\"} 1"));
  EXPECT_FALSE(page.contains("tapdeck_target_info{target=\"web\",path=\"cgroup\""));
  EXPECT_FALSE(page.contains("tapdeck_target_info{target=\"other\""));
}

TEST(Exporter, TheBuildSaysItsRevision) {
  MetricsRegistry registry;
  EXPECT_FALSE(revision().empty());
  EXPECT_TRUE(render_metrics(registry).contains("revision=\"" + std::string(revision()) + "\",compiler="));
}

TEST(Exporter, NoSeriesIsThereForAWayOfCaptureThatIsNotBuilt) {
  MetricsRegistry registry;
  EXPECT_EQ(render_metrics(registry).find("path=\"netns\""), std::string::npos);
}

TEST(Exporter, PromtoolFindsNothingToComplainAbout) {
  MetricsRegistry registry;
  ignore(registry.target_slot("web"), "named, so that its series show");
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "SKIPPED LOUDLY: promtool is not installed (Debian package prometheus)";
  }
  FILE* pipe = ::popen("promtool check metrics >&2", "w");
  ASSERT_NE(pipe, nullptr);
  const std::string page = render_metrics(registry);
  EXPECT_EQ(std::fwrite(page.data(), 1, page.size(), pipe), page.size());
  EXPECT_EQ(::pclose(pipe), 0);
}

}  // namespace
}  // namespace tapdeck::admin

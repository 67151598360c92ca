// `tapdeck doctor`: what kernel::probe() found, with what follows from it.
#include "daemon/app/doctor.h"

#include <algorithm>
#include <ostream>
#include <string>

#include "daemon/app/commands.h"
#include "daemon/app/output.h"
#include "daemon/app/paths.h"

namespace tapdeck::app {

Verdict verdict_of(const std::vector<kernel::Finding>& findings) {
  const auto works = [&](std::string_view name) {
    return std::ranges::any_of(findings, [&](const kernel::Finding& one) { return one.ok && one.name == name; });
  };
  Verdict out{.by_cgroup = works("cgroup_capture"),
              .by_interface = works("tc_capture"),
              .by_namespace = works("netns_capture")};
  if (out.by_cgroup && out.by_interface) {
    out.text = "This host can capture.";
  } else if (out.by_cgroup) {
    out.text = "This host can capture, but not by `attach --interface`.";
  } else if (out.by_interface && out.by_namespace) {
    out.text =
        "This process can capture by `attach --interface` and by `tapdeck run --capture netns`: not containers, units, "
        "cgroups and pids.";
  } else if (out.by_interface) {
    out.text =
        "This process can capture only by `attach --interface`: neither `tapdeck run` nor containers, units, cgroups "
        "and pids.";
  } else if (out.by_namespace) {
    out.text =
        "This process can capture one command: `tapdeck run` (by --capture netns). Containers, units, cgroups, pids "
        "and interfaces need what is missing above, most often root.";
  } else {
    out.text =
        "No capture path works here. A client that is given a proxy needs none: tapdeck serve, with proxy.listen in "
        "its configuration.";
  }
  return out;
}

std::string lines_of(const kernel::Finding& finding) {
  const std::string what = cell_of(finding.name) + ": " + cell_of(finding.detail) + '\n';
  if (finding.ok) return "ok    " + what;
  return (finding.use == kernel::Use::Now ? "FAIL  " : "note  ") + what +
         "      without it: " + cell_of(finding.consequence) + '\n';
}

kernel::Finding look_at_configuration(const std::filesystem::path& file) {
  const auto config = config_for(file);
  if (!config)
    return {"configuration", false, config.error().message(), "neither `tapdeck serve` nor `tapdeck run` starts"};
  return {"configuration", true, config->source.empty() ? "no file: the defaults" : config->source.string(), ""};
}

int doctor(const Common& common, Streams streams) {
  // No Patience here: probe() forks and wants a process with one thread.
  if (common.format == Format::Text) streams.err << "tapdeck: trying each mechanism in throw-away namespaces\n";
  Json items = Json::array();
  std::vector<kernel::Finding> findings = kernel::probe();
  findings.push_back(look_at_configuration(common.config_file));
  const Verdict verdict = verdict_of(findings);
  const bool captures = verdict.by_cgroup || verdict.by_interface || verdict.by_namespace;
  for (const kernel::Finding& finding : findings) {
    items.push_back({{"name", finding.name},
                     {"ok", finding.ok},
                     {"needed", finding.use == kernel::Use::Now},
                     {"detail", finding.detail},
                     {"consequence", finding.consequence}});
  }
  if (common.format == Format::Json) {
    streams.out << dump({{"items", items},
                         {"next", nullptr},
                         {"fit", captures},
                         {"by_cgroup", verdict.by_cgroup},
                         {"by_interface", verdict.by_interface},
                         {"by_namespace", verdict.by_namespace}})
                << '\n';
    return captures ? 0 : 1;
  }
  for (const kernel::Finding& finding : findings) streams.out << lines_of(finding);
  streams.out << verdict.text << '\n';
  return captures ? 0 : 1;
}

}  // namespace tapdeck::app

#include "daemon/app/unit_job.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <ranges>
#include <string>
#include <vector>

#include "daemon/app/tool.h"

namespace tapdeck::app {
namespace {

constexpr std::chrono::seconds kPatience{2};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (const auto part : std::views::split(text, separator)) {
    if (!part.empty()) out.emplace_back(part.begin(), part.end());
  }
  return out;
}

}  // namespace

std::string_view unit_of(std::string_view cgroups) {
  for (const std::string_view line : split(cgroups, '\n')) {
    if (!line.starts_with("0::")) continue;
    const auto parts = split(line.substr(3), '/');
    const auto unit = std::ranges::find_if(parts.rbegin(), parts.rend(),
                                           [](std::string_view part) { return part.ends_with(".service"); });
    if (unit != parts.rend()) return *unit;
  }
  return {};
}

bool is_restart(std::string_view jobs, std::string_view unit) {
  return std::ranges::any_of(split(jobs, '\n'), [unit](std::string_view line) {
    const auto words = split(line, ' ');  // JOB UNIT TYPE STATE
    return words.size() >= 3 && words[1] == unit && words[2] == "restart";
  });
}

bool is_being_restarted() {
  std::ifstream file("/proc/self/cgroup");
  const std::string cgroups(std::istreambuf_iterator<char>(file), {});
  const std::string_view unit = unit_of(cgroups);
  if (unit.empty()) return false;
  const auto jobs = run_tool({"systemctl", "list-jobs", "--no-legend", "--no-pager", "--full"}, kPatience);
  return jobs && jobs->status == 0 && is_restart(jobs->out, unit);
}

}  // namespace tapdeck::app

#include "daemon/app/name_policy.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/base/glob.h"
#include "daemon/modes/select.h"

namespace tapdeck::app {
kernel::Names names_of(Mode mode, modes::Sealed sealed) {
  if (mode == Mode::Passthrough) return kernel::Names::Left;
  const bool is_observed = mode == Mode::Record && sealed == modes::Sealed::No;
  return is_observed ? kernel::Names::Observed : kernel::Names::Answered;
}

names::Outside outside_of(const config::Config& config, const config::BypassRules& bypass, std::string_view target,
                          std::string_view name) {
  if (bypass.match_name(name)) return names::Outside::First;
  auto out = names::Outside::No;
  for (const config::Route& route : config.routes) {
    const bool is_ours = !route.upstream && (!route.target || *route.target == target);
    if (!is_ours || !modes::forwards(route) || (route.host && !glob_match(*route.host, name))) continue;
    const bool passes_the_tape_by = route.host && route.mode && *route.mode != Mode::Replay;
    if (passes_the_tape_by) return names::Outside::First;
    out = names::Outside::AfterTape;
  }
  return out;
}

std::vector<std::string> search_domains(std::string_view resolv_conf) {
  std::vector<std::string> out;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    if (!(words >> word) || (word != "search" && word != "domain")) continue;
    out.clear();  // the last line of them counts
    while (words >> word) {
      const std::string_view domain = std::string_view(word).substr(word.starts_with('.') ? 1 : 0);
      if (!domain.empty()) out.push_back(lowered(domain.ends_with('.') ? domain.substr(0, domain.size() - 1) : domain));
    }
  }
  std::erase(out, std::string());
  return out;
}

std::vector<std::string> own_search_domains() {
  std::ifstream in("/etc/resolv.conf");
  return search_domains(std::string{std::istreambuf_iterator<char>(in), {}});
}

bool is_own_name(std::string_view name) {
  char own[HOST_NAME_MAX + 1] = {};
  if (::gethostname(own, sizeof own - 1) != 0) return false;
  const std::string host = lowered(own);
  return name == host || (name.starts_with(host) && name.substr(host.size()).starts_with('.'));
}

}  // namespace tapdeck::app

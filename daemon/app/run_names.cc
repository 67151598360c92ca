#include "daemon/app/run_names.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/base/glob.h"
#include "daemon/kernel/local_routes.h"
#include "daemon/modes/select.h"

namespace tapdeck::app {
namespace {

// Programs ask for the address of the host itself, in its search domains too: that is no origin.
bool is_own_name(std::string_view name) {
  char own[HOST_NAME_MAX + 1] = {};
  if (::gethostname(own, sizeof own - 1) != 0) return false;
  const std::string host = lowered(own);
  return name == host || (name.starts_with(host) && name.substr(host.size()).starts_with('.'));
}

std::string read_text(const char* file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

names::Outside outside_of(const config::Config& config, const config::BypassRules& bypass, std::string_view name) {
  if (bypass.match_name(name)) return names::Outside::First;
  auto out = names::Outside::No;
  for (const config::Route& route : config.routes) {
    const bool is_ours = !route.upstream && (!route.target || *route.target == config::kRunTarget);
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

Result<void> RunNames::start(NameSockets sockets) {
  names::NameServerOptions options;
  options.v4 = std::move(sockets.v4);
  options.v6 = std::move(sockets.v6);
  options.ask = mode_ == Mode::Replay ? names::Ask::TapeOnly : names::Ask::OutsideFirst;
  options.tape = [this](std::string_view name) { return session_.addresses_of(name); };
  options.outside = [this](std::string_view name) { return outside_of(config_, bypass_, name); };
  const auto reachable = kernel::reachable_addresses().value_or(kernel::all_addresses());
  const auto reaches = [&reachable](Endpoint::Family family) {
    return std::ranges::any_of(reachable, [family](const auto& one) { return one.address.family == family; });
  };
  options.reaches_v4 = reaches(Endpoint::Family::V4);
  options.reaches_v6 = reaches(Endpoint::Family::V6);
  options.search = search_domains(read_text("/etc/resolv.conf"));
  options.on_unknown = [this](const std::string& name) {
    if (!is_own_name(name)) unknown_.push_back(name);
  };
  TRY(started, names::NameServer::start(std::move(options)));
  server_ = std::move(started);
  return {};
}

}  // namespace tapdeck::app

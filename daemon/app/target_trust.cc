#include "daemon/app/target_trust.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace tapdeck::app {
namespace {

constexpr size_t kMaxNamespaces = 32;

std::vector<pid_t> pids_below(const std::string& cgroup) {
  std::vector<std::string> directories{cgroup};
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(cgroup, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) directories.push_back(it->path().string());
  }
  std::vector<pid_t> pids;
  for (const std::string& directory : directories) {
    std::ifstream procs(directory + "/cgroup.procs");
    for (pid_t pid = 0; procs >> pid;) pids.push_back(pid);
  }
  return pids;
}

}  // namespace

TargetTrust bind_cgroup_trust(const std::string& cgroup_path, trust::SharedBindings& shared, const TrustBinder& bind) {
  TargetTrust out;
  std::set<uint64_t> namespaces;
  size_t stores = 0;
  std::string trouble;
  bool host = false;
  for (const pid_t pid : pids_below(cgroup_path)) {
    const Result<bool> on_host = trust::shares_host_mounts(pid);
    if (!on_host) continue;  // ended meanwhile
    struct stat status{};
    if (*on_host || ::stat(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), &status) != 0) {
      host |= *on_host;
      continue;
    }
    if (namespaces.size() >= kMaxNamespaces || !namespaces.insert(status.st_ino).second) continue;
    auto binding = shared.join(pid, bind);
    if (!binding) {
      trouble = binding.error().message();
      continue;
    }
    const trust::BindReport& report = (*binding)->report();
    stores += report.mounted.size();
    out.skipped.insert(out.skipped.end(), report.skipped.begin(), report.skipped.end());
    out.bindings.push_back(std::move(*binding));
  }
  out.text = std::to_string(stores) + (stores == 1 ? " trust store covered" : " trust stores covered");
  if (!out.skipped.empty()) {
    out.text += "; not covered: " + out.skipped.front();
    if (out.skipped.size() > 1)
      out.text += ", and " + std::to_string(out.skipped.size() - 1) + " more ('--json' has all)";
  }
  if (host) {
    out.text +=
        "; it uses the host's files, which are left alone: set SSL_CERT_FILE and its like, or add what 'tapdeck ca "
        "export' prints to them";
  }
  if (!trouble.empty()) out.text += "; " + trouble;
  return out;
}

}  // namespace tapdeck::app

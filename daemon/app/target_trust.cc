#include "daemon/app/target_trust.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

namespace tapdeck::app {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kRetryLost{50};

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

struct Namespaces {
  std::map<uint64_t, pid_t> own;  // inode, and a process in it
  bool host = false;
};

Namespaces namespaces_of(const std::string& cgroup) {
  Namespaces found;
  for (const pid_t pid : pids_below(cgroup)) {
    const Result<bool> on_host = trust::shares_host_mounts(pid);
    if (!on_host) continue;  // ended meanwhile
    struct stat status{};
    if (*on_host) {
      found.host = true;
    } else if (::stat(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), &status) == 0) {
      found.own.try_emplace(status.st_ino, pid);
    }
  }
  return found;
}

}  // namespace

// Where there was nothing to cover, nothing can be lost.
bool TargetTrust::Bound::covers(pid_t pid) const {
  return share != nullptr && (share->report().mounted.empty() || share->covers(pid));
}

void TargetTrust::bind_one(Bound& bound, pid_t pid, trust::SharedBindings& shared, const TrustBinder& bind,
                           Clock::time_point now) {
  bound.share.reset();
  auto share = shared.join(pid, bind);
  bound.pause = share ? std::clamp(bound.pause * 2, kRetryLost, kRetryFailed) : kRetryFailed;
  bound.not_before = now + bound.pause;
  bound.trouble = share ? "" : share.error().message();
  if (share) bound.share = std::move(*share);
}

void TargetTrust::cover(const std::string& cgroup_path, trust::SharedBindings& shared, const TrustBinder& bind,
                        size_t at_once, Clock::time_point now) {
  const Namespaces found = namespaces_of(cgroup_path);
  on_host_ = found.host;
  std::erase_if(bound_, [&](const auto& entry) { return !found.own.contains(entry.first); });
  for (const auto& [inode, pid] : found.own) {
    const auto known = bound_.find(inode);
    if (known != bound_.end() && (known->second.covers(pid) || now < known->second.not_before)) continue;
    if (at_once == 0 || (known == bound_.end() && bound_.size() >= kMaxNamespaces)) continue;
    --at_once;
    bind_one(bound_[inode], pid, shared, bind, now);
  }
}

Result<void> TargetTrust::undo() {
  Result<void> undone;
  for (auto& [inode, bound] : bound_) {
    if (bound.share == nullptr) continue;
    if (auto one = bound.share->undo(); !one) undone = std::move(one);
  }
  bound_.clear();
  return undone;
}

std::vector<std::string> TargetTrust::skipped() const {
  std::vector<std::string> out;
  for (const auto& [inode, bound] : bound_) {
    if (bound.share == nullptr) continue;
    const auto& some = bound.share->report().skipped;
    out.insert(out.end(), some.begin(), some.end());
  }
  return out;
}

std::string TargetTrust::text() const {
  size_t stores = 0;
  std::string trouble;
  for (const auto& [inode, bound] : bound_) {
    if (bound.share != nullptr) stores += bound.share->report().mounted.size();
    if (!bound.trouble.empty()) trouble = bound.trouble;
  }
  std::string text = std::to_string(stores) + (stores == 1 ? " trust store covered" : " trust stores covered");
  if (const auto left = skipped(); !left.empty()) {
    text += "; not covered: " + left.front();
    if (left.size() > 1) text += ", and " + std::to_string(left.size() - 1) + " more ('--json' has all)";
  }
  if (on_host_) {
    text +=
        "; it uses the host's files, which are left alone: set SSL_CERT_FILE and its like, or add what 'tapdeck ca "
        "export' prints to them";
  }
  if (!trouble.empty()) text += "; " + trouble;
  return text;
}

}  // namespace tapdeck::app

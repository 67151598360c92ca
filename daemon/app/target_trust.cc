#include "daemon/app/target_trust.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace tapdeck::app {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kRetryLost{50};
constexpr size_t kMaxCgroups = 4096;  // a container that has its own cgroups to make makes as many as it likes

struct Processes {
  std::vector<pid_t> pids;
  bool is_all = true;
};

// One cgroup that goes meanwhile does not end the walk: whoever makes and removes them would hide all others.
Processes processes_below(const std::string& cgroup) {
  Processes found;
  std::vector<std::string> directories{cgroup};
  for (size_t i = 0; i < directories.size(); ++i) {
    std::ifstream procs(directories[i] + "/cgroup.procs");
    for (pid_t pid = 0; procs >> pid;) found.pids.push_back(pid);
    std::error_code error;
    for (std::filesystem::directory_iterator it(directories[i], error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (!it->is_directory(ignored)) continue;
      found.is_all = directories.size() < kMaxCgroups;
      if (!found.is_all) return found;
      directories.push_back(it->path().string());
    }
  }
  return found;
}

struct Namespaces {
  std::map<uint64_t, std::vector<pid_t>> own;  // by inode: the processes in it
  bool host = false;
  bool is_all = true;
};

Namespaces namespaces_of(const std::string& cgroup) {
  Namespaces found;
  const Processes processes = processes_below(cgroup);
  found.is_all = processes.is_all;
  for (const pid_t pid : processes.pids) {
    const Result<bool> on_host = trust::shares_host_mounts(pid);
    if (!on_host) continue;  // ended meanwhile
    struct stat status{};
    if (*on_host) {
      found.host = true;
    } else if (::stat(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), &status) == 0) {
      found.own[status.st_ino].push_back(pid);
    }
  }
  return found;
}

}  // namespace

// Where there was nothing to cover, nothing can be lost. A process that has changed its root sees less than the others:
// nothing is lost as long as one sees it.
bool TargetTrust::Bound::covers(const std::vector<pid_t>& pids) const {
  if (share == nullptr) return false;
  return share->report().mounted.empty() || std::ranges::any_of(pids, [&](pid_t pid) { return share->covers(pid); });
}

void TargetTrust::bind_one(Bound& bound, pid_t pid, trust::SharedBindings& shared, const TrustBinder& bind,
                           Clock::time_point now) {
  bound.share.reset();
  auto share = shared.join(pid, bind);
  // NotFound: that process has ended, others in its namespace may not have.
  const bool is_soon = share || share.error().code == Code::NotFound;
  bound.pause = is_soon ? std::clamp(bound.pause * 2, kRetryLost, kRetryFailed) : kRetryFailed;
  bound.not_before = now + bound.pause;
  bound.trouble = share ? "" : share.error().message();
  if (share) bound.share = std::move(*share);
}

bool TargetTrust::may_go_on(Clock::time_point now) {
  spent_ += now - std::exchange(spent_at_, now);
  return spent_ < kMostSpent;
}

void TargetTrust::cover(const std::string& cgroup_path, trust::SharedBindings& shared, const TrustBinder& bind,
                        size_t at_once, const std::function<Clock::time_point()>& clock) {
  const Clock::time_point begun = clock();
  spent_ -= std::min(spent_, (begun - spent_at_) / 10);
  spent_at_ = begun;
  if (!may_go_on(begun)) return;
  const Namespaces found = namespaces_of(cgroup_path);
  on_host_ = found.host;
  for (auto it = bound_.begin(); it != bound_.end() && may_go_on(clock());) {
    it = found.own.contains(it->first) || !found.is_all ? std::next(it) : bound_.erase(it);
  }
  beyond_ = 0;
  for (const auto& [inode, pids] : found.own) {
    const Clock::time_point now = clock();
    if (!may_go_on(now)) return;
    const auto known = bound_.find(inode);
    if (known != bound_.end() && (now < known->second.not_before || known->second.covers(pids))) continue;
    if (known == bound_.end() && bound_.size() >= kMaxNamespaces) {
      ++beyond_;
      continue;
    }
    if (at_once == 0) continue;
    --at_once;
    bind_one(bound_[inode], pids.front(), shared, bind, now);
  }
  may_go_on(clock());
}

Result<void> TargetTrust::undo() {
  Result<void> undone;
  bool hangs = false;
  for (auto& [inode, bound] : bound_) {
    if (bound.share == nullptr) continue;
    if (hangs) {
      bound.share->leave_undone();
      continue;
    }
    if (auto one = bound.share->undo(); !one) undone = std::move(one);
    hangs = !undone && undone.error().code == Code::Timeout;
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
  if (beyond_ > 0) {
    text += "; processes with " + std::to_string(beyond_) + " more views of files than the " +
            std::to_string(kMaxNamespaces) + " that are covered";
  }
  if (!trouble.empty()) text += "; " + trouble;
  return text;
}

}  // namespace tapdeck::app

#include "daemon/app/target_trust.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "daemon/base/processes.h"

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

bool TargetTrust::Bound::is_of(const std::vector<pid_t>& pids) const {
  return std::ranges::count(pids, witness) > 0 && start_time(witness) == witness_start;
}

// Where there was nothing to cover, nothing can be lost. A process that has changed its root sees less than the others:
// nothing is lost as long as one sees it.
bool TargetTrust::Bound::covers(const std::vector<pid_t>& pids) const {
  if (share == nullptr) return false;
  if (!is_mounted()) return !share->report().is_partial;
  return std::ranges::any_of(pids, [&](pid_t pid) { return share->covers(pid); });
}

void TargetTrust::Bound::rest(const Result<void>& done, Clock::time_point now) {
  // NotFound: that process has ended, others in its namespace may not have.
  const bool is_soon = done || done.error().code == Code::NotFound;
  pause = is_soon ? std::clamp(pause * 2, kRetryLost, kRetryFailed) : kRetryFailed;
  not_before = now + pause;
  trouble = done ? "" : done.error().message();
  own_trouble.reset();
  if (!done && done.error().origin == Origin::Store) own_trouble = done.error();
}

void TargetTrust::bind_one(Bound& bound, pid_t pid, trust::SharedBindings& shared, const TrustBinder& bind,
                           Clock::time_point now) {
  bound.share.reset();
  auto share = shared.join(pid, bind);
  bound.rest(share ? Result<void>{} : std::unexpected(share.error()), now);
  if (share) bound.share = std::move(*share);
}

void TargetTrust::bind_again(Bound& bound, const std::vector<pid_t>& pids, trust::SharedBindings& shared,
                             const TrustBinder& bind, Clock::time_point now) {
  if (!bound.is_mounted() || !bound.covers(pids)) {
    bound.witness = std::ranges::min(pids);  // most often the one that outlives the others
    bound.witness_start = start_time(bound.witness);
    bind_one(bound, pids.front(), shared, bind, now);
    return;
  }
  // What is covered stays so meanwhile. For one that sees it: others may have changed their root.
  const auto seeing = std::ranges::find_if(pids, [&](pid_t pid) { return bound.share->covers(pid); });
  bound.rest(bound.share->complete(seeing == pids.end() ? pids.front() : *seeing), now);
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
  cover_each(found.own, shared, bind, at_once, clock);
  may_go_on(clock());
  waiting_ = static_cast<size_t>(
      std::ranges::count_if(found.own, [&](const auto& one) { return !bound_.contains(one.first); }));
  const size_t room = kMaxNamespaces - bound_.size();
  beyond_ = waiting_ - std::min(waiting_, room);
  waiting_ -= beyond_;
}

void TargetTrust::cover_each(const Pids& own, trust::SharedBindings& shared, const TrustBinder& bind, size_t at_once,
                             const std::function<Clock::time_point()>& clock) {
  for (const auto& [inode, pids] : own) {
    const Clock::time_point now = clock();
    if (!may_go_on(now)) return;
    auto known = bound_.find(inode);
    if (known != bound_.end() && !known->second.is_mounted() && !known->second.is_of(pids)) {
      bound_.erase(known);  // perhaps another namespace of that number
      known = bound_.end();
    }
    if (known == bound_.end() && bound_.size() >= kMaxNamespaces) continue;
    if (known != bound_.end() && now < known->second.not_before) continue;
    if (known != bound_.end() && !known->second.is_partial() && known->second.covers(pids)) continue;
    if (at_once == 0) continue;
    --at_once;
    bind_again(bound_[inode], pids, shared, bind, now);
  }
}

Result<void> TargetTrust::possible() const {
  for (const auto& [inode, bound] : bound_) {
    if (bound.own_trouble && !bound.is_mounted()) return std::unexpected(*bound.own_trouble);
  }
  return {};
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

void TargetTrust::clear() {
  ignore(undo(), "what is left is undone when another joins or leaves, or by the next start");
  on_host_ = false;
  beyond_ = 0;
  waiting_ = 0;
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
  if (waiting_ > 0) {
    text += "; " + std::to_string(waiting_) + " more view" + (waiting_ == 1 ? "" : "s") + " of files not covered yet";
  }
  if (!trouble.empty()) text += "; " + trouble;
  return text;
}

}  // namespace tapdeck::app

// TargetTrust: trust for all that runs in a cgroup, kept up as processes come and go: a binding for each mount
// namespace they live in, shared with other cgroups that have processes there.
//
// Not the binding itself (trust/bind.h). Owner: a target. Thread: any, one at a time; blocks for as long as the binder
// does.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/trust/shared_bindings.h"

namespace tapdeck::app {

using TrustBinder = trust::Binder;

class TargetTrust {
 public:
  using Clock = std::chrono::steady_clock;

  // Binds into each mount namespace of the cgroup's processes that is not covered, or no longer: a process that is
  // still being set up (a unit before its exec) may have replaced its mounts since. Those without processes are left.
  // What failed is tried again after a minute; what was lost, or could only be mounted in part, again, ever later.
  // Processes on the host's own mounts are left alone and mentioned in text(). At most 32 namespaces, a slice of
  // hundreds of services is not what attach is for, and at most `at_once` of them new ones. Others wait meanwhile: what
  // took kMostSpent, in one call or several, is gone on with by later ones, all of which together take a tenth of the
  // time.
  void cover(const std::string& cgroup_path, trust::SharedBindings& shared, const TrustBinder& bind,
             size_t at_once = kMaxNamespaces, const std::function<Clock::time_point()>& clock = Clock::now);
  // What kept us from binding anywhere, of our own and not of the target: a manifest could not be written.
  [[nodiscard]] Result<void> possible() const;
  // Undoes all; the last error. After one that hung, the rest is left to `shared` of cover().
  Result<void> undo();
  // As undo(), its error left aside. What cover() has taken of the time still counts.
  void clear();

  // "3 trust stores covered", and what else its clients need, for people.
  [[nodiscard]] std::string text() const;
  // Stores left uncovered, "path: why".
  [[nodiscard]] std::vector<std::string> skipped() const;

  static constexpr size_t kMaxNamespaces = 32;
  static constexpr std::chrono::milliseconds kRetryFailed{60000};
  static constexpr std::chrono::milliseconds kMostSpent{5000};

 private:
  struct Bound {
    std::unique_ptr<trust::SharedBindings::Share> share;  // null: it failed
    std::string trouble;
    std::optional<Error> own_trouble;  // not the target's
    std::chrono::milliseconds pause{0};
    Clock::time_point not_before{};
    // A process of the namespace: inodes are used again, and where nothing is mounted, nothing else tells.
    pid_t witness = 0;
    uint64_t witness_start = 0;
    void rest(const Result<void>& done, Clock::time_point now);  // until it may be tried again
    [[nodiscard]] bool is_mounted() const { return share != nullptr && !share->report().mounted.empty(); }
    [[nodiscard]] bool is_partial() const { return share != nullptr && share->report().is_partial; }
    [[nodiscard]] bool is_of(const std::vector<pid_t>& pids) const;
    [[nodiscard]] bool covers(const std::vector<pid_t>& pids) const;
  };
  using Pids = std::map<uint64_t, std::vector<pid_t>>;  // by inode of their namespace
  static void bind_one(Bound& bound, pid_t pid, trust::SharedBindings& shared, const TrustBinder& bind,
                       Clock::time_point now);

  static void bind_again(Bound& bound, const std::vector<pid_t>& pids, trust::SharedBindings& shared,
                         const TrustBinder& bind, Clock::time_point now);
  void cover_each(const Pids& own, trust::SharedBindings& shared, const TrustBinder& bind, size_t at_once,
                  const std::function<Clock::time_point()>& clock);

  bool may_go_on(Clock::time_point now);

  std::map<uint64_t, Bound> bound_;  // by inode of the namespace
  bool on_host_ = false;             // some process is
  size_t beyond_ = 0;                // namespaces past kMaxNamespaces
  size_t waiting_ = 0;               // namespaces that have not had their turn
  Clock::duration spent_{0};         // in cover(), less a tenth of the time between calls
  Clock::time_point spent_at_{};
};

}  // namespace tapdeck::app

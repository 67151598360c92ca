#include "daemon/kernel/cgroup_watch.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kFollow = std::chrono::seconds(3);  // after the last join: from then on the slow scan finds it
constexpr int kRest = 20;                          // a look is followed by a rest 20 times as long: 5 % of a core
// A write to cgroup.procs moves a process in; the kernel itself "modifies" cgroup.events when the first one is there,
// which is all that clone3(CLONE_INTO_CGROUP) shows.
constexpr uint32_t kDirectoryMask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ONLYDIR;

// A runtime needs 10 to 100 ms from the join to the program, a shell less.
constexpr milliseconds step(steady_clock::duration since_join) {
  if (since_join < milliseconds(100)) return milliseconds(2);
  return since_join < milliseconds(500) ? milliseconds(20) : milliseconds(100);
}

}  // namespace

Result<std::unique_ptr<CgroupWatch>> CgroupWatch::open(size_t max_directories) {
  std::unique_ptr<CgroupWatch> out(new CgroupWatch(max_directories));
  out->inotify_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  out->timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!out->inotify_ || !out->timer_) return fail_errno(errno, "make inotify instance and timer", Origin::Kernel);
  return out;
}

void CgroupWatch::add(uint32_t target, const std::string& directory) {
  roots_[target] = directory;
  add_tree(1ULL << target, directory, Fresh::No);
  arm();
}

void CgroupWatch::remove(uint32_t target) {
  roots_.erase(target);
  std::vector<int> unused;
  for (auto& [watch, directory] : directories_) {
    directory.targets &= ~(1ULL << target);
    if (directory.targets == 0) unused.push_back(watch);
  }
  for (const int watch : unused) forget(watch);
}

void CgroupWatch::add_tree(uint64_t targets, const std::string& path, Fresh fresh) {
  const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), kDirectoryMask);
  if (watch < 0) {
    if (errno == ENOSPC || errno == ENOMEM) say_full("fs.inotify.max_user_watches");
    return;  // else it is gone again
  }
  const auto [at, inserted] = directories_.try_emplace(watch, Directory{path, 0, -1});
  if (inserted && directories_.size() > max_directories_) {
    directories_.erase(at);
    ::inotify_rm_watch(inotify_.get(), watch);
    say_full("tapdeck's own bound");
    return;
  }
  at->second.targets |= targets;
  if (inserted) {
    by_path_[path] = watch;
    at->second.events_watch = ::inotify_add_watch(inotify_.get(), (path + "/cgroup.events").c_str(), IN_MODIFY);
    if (at->second.events_watch >= 0) events_[at->second.events_watch] = watch;
    if (fresh == Fresh::Yes) wake(watch);
  }
  add_children(targets, path, fresh);
}

void CgroupWatch::add_children(uint64_t targets, const std::string& path, Fresh fresh) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(path.c_str()), &::closedir);
  while (const dirent* entry = list ? ::readdir(list.get()) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    add_tree(targets, path + "/" + entry->d_name, fresh);
  }
}

// The file's watch would outlive its directory: the kernel removes those files without a word.
void CgroupWatch::forget(int watch) {
  const auto at = directories_.find(watch);
  if (at == directories_.end()) return;
  if (at->second.events_watch >= 0) {
    events_.erase(at->second.events_watch);
    ::inotify_rm_watch(inotify_.get(), at->second.events_watch);
  }
  ::inotify_rm_watch(inotify_.get(), watch);
  const auto path = by_path_.find(at->second.path);
  if (path != by_path_.end() && path->second == watch) by_path_.erase(path);
  active_.erase(watch);
  directories_.erase(at);
}

void CgroupWatch::forget_path(const std::string& path) {
  const auto at = by_path_.find(path);
  if (at != by_path_.end()) forget(at->second);
}

void CgroupWatch::drop_the_gone() {
  std::vector<int> gone;
  for (const auto& [watch, directory] : directories_) {
    const auto newest = by_path_.find(directory.path);
    const bool replaced = newest == by_path_.end() || newest->second != watch;
    if (replaced || ::access(directory.path.c_str(), F_OK) != 0) gone.push_back(watch);
  }
  for (const int watch : gone) forget(watch);
}

void CgroupWatch::wake(int watch) {
  const auto now = steady_clock::now();
  Activity& activity = active_[watch];
  activity.joined = now;
  activity.looked = false;
  activity.due = std::max(now, activity.not_before);
}

bool CgroupWatch::work(const Look& look) {
  uint64_t expirations = 0;
  ignore(::read(timer_.get(), &expirations, sizeof(expirations)), "only to make it unreadable");
  bool lost = false;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  for (ssize_t n = 0; (n = ::read(inotify_.get(), buffer.data(), buffer.size())) > 0;) {
    for (ssize_t i = 0; i < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(&buffer[static_cast<size_t>(i)]);
      i += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      lost = lost || (event->mask & IN_Q_OVERFLOW) != 0;
      if (const auto file = events_.find(event->wd); file != events_.end()) {
        if ((event->mask & IN_MODIFY) != 0) wake(file->second);
        continue;
      }
      const auto at = directories_.find(event->wd);
      if (at == directories_.end()) continue;
      const std::string_view name = event->len > 0 ? std::string_view(event->name) : std::string_view();
      const std::string child = at->second.path + "/" + std::string(name);
      const bool is_directory = (event->mask & IN_ISDIR) != 0;
      if ((event->mask & IN_IGNORED) != 0)
        forget(event->wd);
      else if (is_directory && (event->mask & IN_CREATE) != 0)
        add_tree(at->second.targets, child, Fresh::Yes);
      else if (is_directory && (event->mask & IN_DELETE) != 0)
        forget_path(child);
      else if ((event->mask & IN_MODIFY) != 0 && name == "cgroup.procs")
        wake(event->wd);
    }
  }
  if (lost) {
    for (const auto& [target, root] : roots_) add_tree(1ULL << target, root, Fresh::Yes);
    drop_the_gone();
  }
  const auto now = steady_clock::now();
  std::vector<int> due;
  for (auto& [watch, activity] : active_) {
    if (activity.due > now) continue;
    // The first look after a join is at once; all later ones share one rest, however many cgroups there are.
    if (activity.looked && now < rest_until_) {
      activity.due = rest_until_;
    } else {
      due.push_back(watch);
    }
  }
  for (const int watch : due) look_at(watch, look);
  arm();
  return lost;
}

// `look` may call back and take a target away: everything is found anew after it.
void CgroupWatch::look_at(int watch, const Look& look) {
  const auto at = directories_.find(watch);
  if (at == directories_.end()) return;
  const Directory directory = at->second;
  const auto begin = steady_clock::now();
  bool inhabited = false;
  for (uint32_t target = 0; target < kMaxTargets; ++target) {
    if ((directory.targets >> target & 1) != 0 && look(target, directory.path)) inhabited = true;
  }
  const auto end = steady_clock::now();
  const auto activity = active_.find(watch);
  if (activity == active_.end()) return;
  if (!inhabited || end - activity->second.joined > kFollow) {
    active_.erase(activity);
    return;
  }
  activity->second.looked = true;
  activity->second.not_before = end + (end - begin) * kRest;
  rest_until_ = std::max(rest_until_, end) + (end - begin) * kRest;
  activity->second.due = std::max<Time>(end + step(end - activity->second.joined), activity->second.not_before);
}

void CgroupWatch::arm() {
  itimerspec when{};
  if (!active_.empty()) {
    const auto soonest = std::ranges::min_element(active_, {}, [](const auto& one) { return one.second.due; });
    const auto left =
        std::max<std::chrono::nanoseconds>(soonest->second.due - steady_clock::now(), std::chrono::nanoseconds(1));
    when.it_value.tv_sec = left.count() / 1'000'000'000;
    when.it_value.tv_nsec = left.count() % 1'000'000'000;
  }
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void CgroupWatch::say_full(const char* why) {
  if (said_full_) return;
  said_full_ = true;
  log::warn("capture.watches",
            "not every cgroup below the targets can be watched: the first connection from a new network namespace may "
            "pass uncaptured (no_listener)",
            {{"bound", why}, {"watched", directories_.size()}});
}

}  // namespace tapdeck::kernel

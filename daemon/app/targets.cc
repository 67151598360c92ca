#include "daemon/app/targets.h"

#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "daemon/app/made_cgroups.h"
#include "daemon/app/targets_entry.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"
#include "daemon/config/config.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kNoTrust = "none: its clients must trust the CA themselves ('tapdeck ca show')";

// Names become labels of metrics: what a target is called that was given none is one that --name would take. A long one
// is cut to its end, behind eight digits that tell it from others with that end.
void name_it(TargetSettings& settings) {
  const std::string& selector = settings.spec.name;
  if (!settings.title.empty() || !config::check_target_name(selector)) return;
  settings.title = config::name_of_selector(selector);
  if (settings.title.size() == selector.size()) return;
  uint32_t hash = 2166136261;  // FNV-1a: the same in every build
  for (const char c : selector) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619;
  for (size_t i = 0; i < 8; ++i, hash <<= 4) settings.title[i] = "0123456789abcdef"[hash >> 28];
  settings.title[8] = '-';
}

// Of what the configuration names: nothing that changes by itself.
bool is_for_good(Code code) {
  return code == Code::InvalidArgument || code == Code::Unsupported || code == Code::Cancelled;
}

// When a daemon before us was last alive; none: that is not known.
std::optional<Clock::time_point> last_alive(const std::filesystem::path& file) {
  std::error_code error;
  const auto touched = std::filesystem::last_write_time(file, error);
  if (error) return std::nullopt;
  const auto ago = std::filesystem::file_time_type::clock::now() - touched;
  return Clock::now() - std::chrono::duration_cast<Clock::duration>(std::max(ago, ago.zero()));
}

}  // namespace

std::string_view to_string(TargetStatus::State state) {
  switch (state) {
    case TargetStatus::State::Attached:
      return "attached";
    case TargetStatus::State::Waiting:
      return "waiting";
    case TargetStatus::State::Failed:
      break;
  }
  return "failed";
}

TargetRegistry::TargetRegistry(Options options, TargetBackend& backend, UniqueFd wake, UniqueFd stop, UniqueFd inotify)
    : options_(std::move(options)),
      backend_(backend),
      wake_(std::move(wake)),
      stop_(std::move(stop)),
      inotify_(std::move(inotify)),
      lookup_(options_.resolve) {
  if (const auto mount = kernel::find_cgroup2_mount(options_.resolve.mounts_file))
    container_places_ = container_places(*mount);
}

Result<std::unique_ptr<TargetRegistry>> TargetRegistry::open(Options options, TargetBackend& backend) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno(errno, "eventfd");
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return fail_errno(errno, "eventfd");
  options.resolve.cancel_fd = stop.get();
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return fail_errno(errno, "inotify");
  auto registry = std::unique_ptr<TargetRegistry>(
      new TargetRegistry(std::move(options), backend, std::move(wake), std::move(stop), std::move(inotify)));
  Result<TargetList> kept = load_targets(registry->options_.file);
  if (!kept && kept.error().code != Code::Corrupt) return std::unexpected(kept.error());
  if (!kept) {
    const std::string bad = registry->options_.file.string() + ".bad";
    if (::rename(registry->options_.file.c_str(), bad.c_str()) != 0) return fail_errno(errno, "rename to " + bad);
    registry->last_error_ = kept.error().detail + "; kept as " + bad;
    log::error("targets.lost", "the list of targets does not decode: nothing in it is captured; attach them again",
               {{"problem", kept.error().detail}, {"kept", bad}});
    return registry;
  }
  registry->saved_ = text_of(*kept);
  const auto alive = last_alive(registry->options_.alive_file);
  for (auto& [id, settings] : *kept) {
    auto entry = std::make_unique<Entry>();
    entry->id = id;
    entry->settings = std::move(settings);
    name_it(entry->settings);
    entry->detail = "not looked at yet";
    entry->from_before = alive.has_value() || !entry->is_interface();
    if (entry->from_before) entry->due_since = alive.value_or(Clock::time_point{});  // boot
    registry->entries_.emplace(id, std::move(entry));
  }
  return registry;
}

TargetRegistry::~TargetRegistry() {
  stop();
}

std::string TargetRegistry::cgroup_mount() const {
  return kernel::find_cgroup2_mount(options_.resolve.mounts_file).value_or("");
}

// What is there already is not written again: a full disk is no obstacle to what changes nothing.
Result<void> TargetRegistry::save() {
  const TargetList list = kept();
  std::string text = text_of(list);
  auto saved = text == saved_ ? Result<void>{} : save_targets(options_.file, list);
  // After a failure nobody knows what the file says: it may be in place, and its name not safe.
  saved_ = saved ? std::move(text) : std::string();
  last_error_ = saved ? std::string() : saved.error().message();
  return saved;
}

// save(), where what it keeps is `done` whether or not it can be kept.
Result<void> TargetRegistry::save_after(std::string_view done) {
  auto saved = save();
  if (!saved) {
    saved.error().detail =
        std::string(done) + ", but the daemon's next start will not know it: " + saved.error().detail;
  }
  return saved;
}

// Those of the configuration, before they are looked for.
Result<std::vector<uint32_t>> TargetRegistry::enter(const std::vector<TargetSettings>& configured) {
  std::vector<uint32_t> ids;
  const std::string mount = cgroup_mount();
  for (TargetSettings settings : configured) {
    name_it(settings);
    if (settings.spec.kind == TargetKind::Pid) settings.pid_start = start_time(std::atoi(settings.spec.name.c_str()));
    // One that was entered a moment ago is not replaced: of two ways to write a cgroup the second waits, and says so.
    const auto known = std::ranges::find_if(entries_, [&](const auto& one) {
      return std::ranges::count(ids, one.first) == 0 && is_same(one.second->settings.spec, settings.spec, mount);
    });
    if (known != entries_.end()) {
      known->second->settings = std::move(settings);
      ids.push_back(known->first);
      continue;
    }
    TRY(entry, add(settings));
    ids.push_back(entry->id);
  }
  return ids;
}

Result<void> TargetRegistry::keep_entered(const std::vector<uint32_t>& ids) {
  const std::lock_guard lock(work_mutex_);
  for (const uint32_t id : ids) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) continue;  // detached meanwhile
    const Entry& entry = *found->second;
    if (entry.failed_as && is_for_good(*entry.failed_as))
      return fail(*entry.failed_as, "target '" + entry.settings.shown() + "': " + entry.detail);
  }
  if (ids.empty() || save()) return {};
  log::warn("targets.unsaved", "the list of targets could not be written down; what it says is in force all the same",
            {{"error", last_error_}});
  return {};
}

Result<void> TargetRegistry::start(const std::vector<TargetSettings>& configured) {
  std::vector<uint32_t> ids, entered;
  {
    const std::lock_guard lock(work_mutex_);
    TRY(done, enter(configured));
    entered = std::move(done);
    for (const auto& [id, entry] : entries_) {
      ids.push_back(id);
      // From before the first question on: what is made after it is not missed.
      if (entry->settings.spec.kind == TargetKind::Container) watch_container_places();
    }
  }
  for (const uint32_t id : ids) look_at(id);
  ask_about_units();
  ask_about_containers();
  TRY_VOID(keep_entered(entered));
  touch_alive_file();
  if (watcher_.joinable()) return {};
  watcher_ = std::thread([this] { watch(); });
  unit_asker_ = std::thread([this] { ask(TargetKind::Unit); });
  container_asker_ = std::thread([this] { ask(TargetKind::Container); });
  return {};
}

void TargetRegistry::stop() {
  {
    const std::lock_guard lock(small_mutex_);
    stopping_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  ::eventfd_write(stop_.get(), 1);
  {
    const std::lock_guard lock(work_mutex_);  // who is about to wait has seen stopping_, or waits already
  }
  asks_.notify_all();
  const bool was_watching = watcher_.joinable();
  for (std::thread* thread : {&watcher_, &unit_asker_, &container_asker_}) {
    if (thread->joinable()) thread->join();
  }
  if (was_watching) touch_alive_file();
}

Result<TargetStatus> TargetRegistry::attach(TargetSettings settings) {
  if (is_stopping()) return fail(Code::Cancelled, "tapdeck is stopping");
  name_it(settings);
  // Outside the lock: `tapdeck targets` must answer while podman thinks.
  TRY(resolved, resolve_target(settings.spec, options_.resolve));
  if (settings.spec.kind == TargetKind::Pid) settings.pid_start = start_time(resolved.pid);

  const std::lock_guard lock(work_mutex_);
  if (is_stopping()) return fail(Code::Cancelled, "tapdeck is stopping");
  const std::string mount = cgroup_mount();
  const auto known = std::ranges::find_if(
      entries_, [&](const auto& one) { return is_same(one.second->settings.spec, settings.spec, mount); });
  Entry* entry = known == entries_.end() ? nullptr : known->second.get();
  if (entry != nullptr) {
    TRY_VOID(reattach(*entry, settings, resolved));
  } else {
    TRY(added, add(settings));
    entry = added;
    if (const auto done = attach_entry(*entry, resolved, TargetBackend::Why::Asked); !done) {
      entries_.erase(entry->id);
      return std::unexpected(done.error());
    }
    wake_all();
  }
  TRY_VOID(save_after("target '" + entry->settings.shown() + "' is attached"));
  return status_of(*entry);
}

// Who watches, and who asks, learns of what has changed.
void TargetRegistry::wake_all() {
  ::eventfd_write(wake_.get(), 1);
  asks_.notify_all();
}

Result<void> TargetRegistry::reattach(Entry& entry, const TargetSettings& settings, const ResolvedTarget& resolved) {
  TargetSettings before = std::exchange(entry.settings, settings);
  const Result<void> done = attach_entry(entry, resolved, TargetBackend::Why::Asked);
  if (done) return {};
  entry.settings = std::move(before);
  if (entry.state != TargetStatus::State::Attached) {  // else as before: then it stays so
    try_later(entry, IsThere::Yes, done.error());
    wake_all();
  }
  return done;
}

Result<TargetRegistry::Entry*> TargetRegistry::add(const TargetSettings& settings) {
  uint32_t id = options_.first_slot;
  while (entries_.contains(id)) ++id;
  if (id > options_.last_slot) {
    return fail(Code::Exhausted, "all " + std::to_string(entries_.size()) + " target slots are taken; detach one");
  }
  auto owned = std::make_unique<Entry>();
  Entry& entry = *owned;
  entry.id = id;
  entry.settings = settings;
  entry.detail = "not looked at yet";
  entry.uncaptured_before = backend_.uncaptured(id);
  if (entry.is_interface()) entry.gaps_before = backend_.gaps(id);
  entries_.emplace(id, std::move(owned));
  return &entry;
}

TargetList TargetRegistry::kept() const {
  TargetList list;
  for (const auto& [id, entry] : entries_) list.emplace(id, entry->settings);
  return list;
}

Result<TargetRegistry::Entry*> TargetRegistry::entry_of(const std::string& target) {
  TRY(id, find_in(kept(), target, cgroup_mount()));
  return entries_.at(id).get();
}

Result<void> TargetRegistry::detach(const std::string& target) {
  const std::lock_guard lock(work_mutex_);
  TRY(entry, entry_of(target));
  // Whatever fails from here on is clean-up: it is a target no more.
  Result<void> detached = backend_.detach(entry->id);
  Result<void> undone = entry->trust ? entry->trust->undo() : Result<void>{};
  const std::string name = entry->settings.shown();
  entries_.erase(entry->id);
  for (const auto& [id, other] : entries_) {
    if (other->failed_as == Code::AlreadyExists) other->next_look = Clock::now();  // perhaps it had its cgroup
  }
  wake_all();
  tell_uncaptured();
  TRY_VOID(save_after("target '" + name + "' is detached"));
  if (!detached) {
    detached.error().detail =
        "detached, but something of it is left in the kernel until tapdeck starts again or 'tapdeck "
        "clean': " +
        detached.error().detail;
    return detached;
  }
  if (!undone) {
    undone.error().detail = "detached, but its trust stores are still covered until it ends or tapdeck starts again: " +
                            undone.error().detail;
  }
  return undone;
}

Result<TargetStatus> TargetRegistry::update(const std::string& target,
                                            const std::function<void(TargetSettings&)>& change) {
  const std::lock_guard lock(work_mutex_);
  TRY(entry, entry_of(target));
  TargetSettings settings = entry->settings;
  change(settings);
  settings.spec = entry->settings.spec;
  settings.pid_start = entry->settings.pid_start;
  if (entry->state == TargetStatus::State::Attached) {
    TRY_VOID(backend_.update(entry->id, settings));
    entry->detail.clear();
  }
  entry->settings = std::move(settings);
  tell_uncaptured();
  TRY_VOID(save_after("target '" + entry->settings.shown() + "' is changed"));
  return status_of(*entry);
}

Result<TargetStatus> TargetRegistry::find(const std::string& target) {
  const std::lock_guard lock(work_mutex_);
  TRY(entry, entry_of(target));
  return status_of(*entry);
}

std::vector<TargetStatus> TargetRegistry::list() {
  const std::lock_guard lock(work_mutex_);
  std::vector<TargetStatus> out;
  for (const auto& [id, entry] : entries_) out.push_back(status_of(*entry));
  return out;
}

TargetStatus TargetRegistry::status_of(const Entry& entry) {
  TargetStatus status;
  status.id = entry.id;
  status.settings = entry.settings;
  status.state = entry.state;
  status.detail = entry.detail;
  status.passes = entry.passes;
  const bool is_attached = entry.state == TargetStatus::State::Attached;
  if (status.detail.empty() && is_attached && entry.is_interface()) status.detail = backend_.trouble(entry.id);
  if (status.detail.empty() && is_attached) status.detail = backend_.remark(entry.id);
  status.display = entry.resolved.display.empty() ? entry.settings.spec.to_string() : entry.resolved.display;
  if (entry.state == TargetStatus::State::Attached) {
    char name[IF_NAMESIZE] = "";
    const bool named = entry.interface_index != 0 && ::if_indextoname(entry.interface_index, name) != nullptr;
    const std::string interface = named ? std::string(name) : entry.resolved.interface;
    status.captured = interface.empty() ? entry.resolved.cgroup_path : "interface " + interface;
  }
  status.attached_at_ms = entry.attached_at_ms;
  if (entry.state == TargetStatus::State::Attached) {
    status.trust = entry.trust ? entry.trust->text() : kNoTrust;
    if (entry.trust) status.trust_skipped = entry.trust->skipped();
  }
  const TargetBackend::Gaps gaps = entry.is_interface() ? backend_.gaps(entry.id) : TargetBackend::Gaps{};
  status.gaps = entry.gaps + gaps.count - entry.gaps_before.count;
  status.gap_total = entry.gap_total + gaps.total - entry.gaps_before.total;
  if (entry.ever_attached) status.uncaptured = backend_.uncaptured(entry.id);
  for (const auto& [reason, count] : entry.uncaptured_before) {  // of the target that had the slot before
    const auto now = status.uncaptured.find(reason);
    if (now == status.uncaptured.end()) continue;
    now->second -= std::min(now->second, count);
    if (now->second == 0) status.uncaptured.erase(now);
  }
  return status;
}

std::string TargetRegistry::last_error() {
  const std::lock_guard lock(work_mutex_);
  return last_error_;
}

}  // namespace tapdeck::app

#include "daemon/app/targets.h"

#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "daemon/app/made_cgroups.h"
#include "daemon/app/targets_entry.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"
#include "daemon/config/config.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

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
bool is_for_good(const Error& error) {
  return error.code == Code::InvalidArgument || error.code == Code::Unsupported || error.code == Code::Cancelled;
}

bool may_wait(IfMissing if_missing, const Error& error) {
  return if_missing == IfMissing::Wait && !is_for_good(error);
}

TargetBackend::Why why_of(IfMissing if_missing) {
  return if_missing == IfMissing::Fail ? TargetBackend::Why::Asked : TargetBackend::Why::Kept;
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
  for (auto& [id, settings] : *kept) {
    auto entry = std::make_unique<Entry>();
    entry->id = id;
    entry->settings = std::move(settings);
    name_it(entry->settings);
    entry->detail = "not looked at yet";
    registry->entries_.emplace(id, std::move(entry));
  }
  return registry;
}

TargetRegistry::~TargetRegistry() {
  stop();
}

// What is there already is not written again: a full disk is no obstacle to what changes nothing.
Result<void> TargetRegistry::save() {
  TargetList list;
  for (const auto& [id, entry] : entries_) list.emplace(id, entry->settings);
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

Result<TargetStatus> TargetRegistry::kept(const Entry& entry, IfMissing if_missing) {
  const auto saved = save_after("target '" + entry.settings.shown() + "' is attached");
  if (!saved && if_missing == IfMissing::Fail) return std::unexpected(saved.error());
  if (!saved) {
    log::warn("targets.unsaved", "the list of targets could not be written down; what it says is in force all the same",
              {{"target", entry.id}, {"name", entry.settings.shown()}, {"error", last_error_}});
  }
  return status_of(entry);
}

Result<TargetStatus> TargetRegistry::attach(TargetSettings settings, IfMissing if_missing) {
  if (is_stopping()) return fail(Code::Cancelled, "tapdeck is stopping");
  name_it(settings);
  const bool waits_for_container = if_missing == IfMissing::Wait && settings.spec.kind == TargetKind::Container;
  if (waits_for_container) watch_container_places();  // from before the question on
  // Outside the lock: `tapdeck targets` must answer while podman thinks.
  const Result<ResolvedTarget> resolved = resolve(settings.spec, if_missing);
  if (!resolved) {
    if (if_missing == IfMissing::Fail || is_for_good(resolved.error())) return std::unexpected(resolved.error());
  } else if (settings.spec.kind == TargetKind::Pid) {
    settings.pid_start = start_time(resolved->pid);
  }

  const std::lock_guard lock(work_mutex_);
  if (is_stopping()) return fail(Code::Cancelled, "tapdeck is stopping");
  for (const auto& [id, entry] : entries_) {
    if (entry->settings.spec == settings.spec) {
      TRY_VOID(reattach(*entry, settings, resolved, if_missing));
      return kept(*entry, if_missing);
    }
    if (resolved && !resolved->cgroup_path.empty() && entry->state == TargetStatus::State::Attached &&
        entry->resolved.cgroup_path == resolved->cgroup_path) {
      return fail(Code::AlreadyExists, resolved->display + " is target " + std::to_string(id) + " already (" +
                                           entry->settings.spec.to_string() + "); detach that first");
    }
  }
  TRY(entry, attach_new(settings, resolved, if_missing));
  ::eventfd_write(wake_.get(), 1);  // the watcher learns of the new pid
  asks_.notify_all();
  return kept(*entry, if_missing);
}

Result<void> TargetRegistry::reattach(Entry& entry, const TargetSettings& settings,
                                      const Result<ResolvedTarget>& resolved, IfMissing if_missing) {
  const TargetSettings before = std::exchange(entry.settings, settings);
  const Result<void> done = resolved ? attach_entry(entry, *resolved, why_of(if_missing)) : Result<void>{};
  if (done) return {};
  const bool is_attached = entry.state == TargetStatus::State::Attached;  // as before: then it stays so
  const bool waits = !is_attached && may_wait(if_missing, done.error());
  if (!waits) entry.settings = before;
  if (!is_attached) {
    try_later(entry, true, done.error());
    ::eventfd_write(wake_.get(), 1);  // who watches learns when
    asks_.notify_all();
  }
  return waits ? Result<void>{} : done;
}

Result<TargetRegistry::Entry*> TargetRegistry::attach_new(const TargetSettings& settings,
                                                          const Result<ResolvedTarget>& resolved,
                                                          IfMissing if_missing) {
  uint32_t id = options_.first_slot;
  while (entries_.contains(id)) ++id;
  if (id > options_.last_slot) {
    return fail(Code::Exhausted, "all " + std::to_string(entries_.size()) + " target slots are taken; detach one");
  }
  auto owned = std::make_unique<Entry>();
  Entry& entry = *owned;
  entry.id = id;
  entry.settings = settings;
  entry.uncaptured_before = backend_.uncaptured(id);
  if (entry.is_interface()) entry.gaps_before = backend_.gaps(id);
  entries_.emplace(id, std::move(owned));
  if (!resolved) {
    lose(entry, resolved.error());
    tell_uncaptured();
  } else if (const Result<void> done = attach_entry(entry, *resolved, why_of(if_missing)); !done) {
    if (!may_wait(if_missing, done.error())) {
      entries_.erase(id);
      return std::unexpected(done.error());
    }
    try_later(entry, true, done.error());
  }
  return &entry;
}

Result<TargetRegistry::Entry*> TargetRegistry::entry_of(const std::string& target) {
  uint32_t id = 0;
  const auto parsed = std::from_chars(target.data(), target.data() + target.size(), id);
  if (parsed.ec == std::errc{} && parsed.ptr == target.data() + target.size()) {
    if (const auto it = entries_.find(id); it != entries_.end()) return it->second.get();
  }
  std::vector<Entry*> fits;
  std::vector<std::string> known;
  for (const auto& [number, entry] : entries_) {
    const TargetSettings& settings = entry->settings;
    if (settings.spec.to_string() == target) return entry.get();
    if (settings.title == target || settings.spec.name == target) fits.push_back(entry.get());
    known.push_back(settings.shown());
  }
  if (fits.size() == 1) return fits.front();
  if (fits.empty()) {
    std::string detail = "no target '" + target + "'";
    const std::vector<std::string> near = nearest_names(target, known);
    for (size_t i = 0; i < near.size(); ++i) detail += (i == 0 ? "; nearest: " : ", ") + near[i];
    return fail(Code::NotFound, detail);
  }
  std::string detail = "'" + target + "' fits several targets, name one by id:";
  for (const Entry* entry : fits)
    detail += " " + std::to_string(entry->id) + " (" + entry->settings.spec.to_string() + ")";
  return fail(Code::InvalidArgument, detail);
}

Result<void> TargetRegistry::detach(const std::string& target) {
  const std::lock_guard lock(work_mutex_);
  TRY(entry, entry_of(target));
  // Whatever fails from here on is clean-up: it is a target no more.
  Result<void> detached = backend_.detach(entry->id);
  Result<void> undone = entry->trust ? entry->trust->undo() : Result<void>{};
  const std::string name = entry->settings.shown();
  entries_.erase(entry->id);
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

// TargetRegistry, the threads that ask: podman and docker about containers that are waited for, systemctl about units.
// Apart from the watching thread and from each other: a program that hangs holds up nobody else's targets.
#include <algorithm>
#include <optional>

#include "daemon/app/targets_entry.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

// For a person as much as there is to say; else without a runtime that hangs being waited for again and again.
Result<ResolvedTarget> TargetRegistry::resolve(const TargetSpec& spec, IfMissing if_missing) {
  if (if_missing == IfMissing::Fail || spec.kind != TargetKind::Container) {
    return resolve_target(spec, options_.resolve);
  }
  Result<ResolvedTarget> out = fail(Code::NotFound, "not asked yet");
  lookup_.ask({spec.name}, [&](const std::string&, const Result<ResolvedTarget>& found) { out = found; });
  return out;
}

// One question about all of them, whosever turn it is.
void TargetRegistry::ask_about_containers() {
  std::vector<std::string> names;
  auto urgent = ContainerLookup::Urgent::No;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      if (entry->settings.spec.kind != TargetKind::Container || entry->state != TargetStatus::State::Waiting) continue;
      names.push_back(entry->settings.spec.name);
      entry->container_asked = std::exchange(entry->container_made, false);
      if (entry->container_asked) urgent = ContainerLookup::Urgent::Yes;
    }
  }
  const auto take = [this](const std::string& name, const Result<ResolvedTarget>& found) {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      const bool is_meant = entry->settings.spec.kind == TargetKind::Container && entry->settings.spec.name == name;
      if (is_meant && entry->state == TargetStatus::State::Waiting) take_up(*entry, found);
    }
  };
  lookup_.ask(names, take, urgent);
}

void TargetRegistry::ask_about_units() {
  std::vector<std::pair<uint32_t, TargetSpec>> due;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      const bool is_waiting = entry->state == TargetStatus::State::Waiting && entry->next_look <= Clock::now();
      if (entry->settings.spec.kind == TargetKind::Unit && is_waiting) due.emplace_back(id, entry->settings.spec);
    }
  }
  for (const auto& [id, spec] : due) {
    const Result<ResolvedTarget> resolved = resolve_target(spec, options_.resolve);
    const std::lock_guard lock(work_mutex_);
    const auto it = entries_.find(id);
    // Detached, replaced or attached by hand meanwhile.
    if (it == entries_.end() || it->second->settings.spec != spec) continue;
    if (it->second->state == TargetStatus::State::Waiting) take_up(*it->second, resolved);
  }
}

bool TargetRegistry::is_stopping() {
  const std::lock_guard lock(small_mutex_);
  return stopping_;
}

void TargetRegistry::ask(TargetKind kind) {
  std::unique_lock lock(work_mutex_);
  while (!is_stopping()) {
    std::optional<Clock::time_point> next;
    for (const auto& [id, entry] : entries_) {
      if (entry->settings.spec.kind != kind || entry->state != TargetStatus::State::Waiting) continue;
      next = std::min(next.value_or(entry->next_look), entry->next_look);
    }
    if (!next) {
      asks_.wait(lock);
      continue;
    }
    if (*next > Clock::now()) {
      asks_.wait_until(lock, *next);
      continue;
    }
    lock.unlock();
    if (kind == TargetKind::Container) {
      ask_about_containers();
    } else {
      ask_about_units();
    }
    lock.lock();
  }
}

void TargetRegistry::tell_uncaptured() {
  std::string problem, doubt;
  for (const auto& [id, entry] : entries_) {
    if (!(entry->passes || entry->unknown) || !backend_.is_closed(entry->settings)) continue;
    std::string& text = entry->passes ? problem : doubt;
    if (!text.empty()) continue;
    text = "target " + entry->settings.shown();
    text += entry->passes ? " runs and is not captured: " : " may run and is not captured: ";
    text += entry->detail;
  }
  // What a predecessor left refuses meanwhile.
  backend_.keep_leftovers(!doubt.empty() || !problem.empty());
  if (problem.empty()) problem = std::move(doubt);
  if (problem.empty()) problem = trouble_of_closed();
  const std::lock_guard lock(small_mutex_);
  uncaptured_problem_ = std::move(problem);
}

std::string TargetRegistry::trouble_of_closed() {
  for (const auto& [id, entry] : entries_) {
    if (entry->trouble.empty() || !backend_.is_closed(entry->settings)) continue;
    return "target " + entry->settings.shown() + " is refused whatever it asks: " + entry->trouble;
  }
  return {};
}

void TargetRegistry::defaults_changed() {
  const std::lock_guard lock(work_mutex_);
  tell_uncaptured();
}

std::string TargetRegistry::uncaptured_problem() {
  const std::lock_guard lock(small_mutex_);
  return uncaptured_problem_;
}

}  // namespace tapdeck::app

// TargetRegistry, the threads that ask: podman and docker about containers that are waited for or in doubt, systemctl
// about such units.
// Apart from the watching thread and from each other: a program that hangs holds up nobody else's targets.
#include <algorithm>
#include <optional>

#include "daemon/app/targets_entry.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

// One question about all of them, whosever turn it is.
void TargetRegistry::ask_about_containers() {
  std::vector<std::string> names;
  auto urgent = ContainerLookup::Urgent::No;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      if (entry->settings.spec.kind != TargetKind::Container || !entry->has_question()) continue;
      names.push_back(entry->settings.spec.name);
      entry->doubt_asked = true;
      entry->container_asked = std::exchange(entry->container_made, false);
      if (entry->container_asked) urgent = ContainerLookup::Urgent::Yes;
    }
  }
  const auto take = [this](const std::string& name, const Result<ResolvedTarget>& found, const std::string& ended) {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      const bool is_meant = entry->settings.spec.kind == TargetKind::Container && entry->settings.spec.name == name;
      if (!is_meant || !entry->has_question()) continue;
      if (!ended.empty()) count_missed(*entry, ended);
      take_answer(*entry, found);
    }
  };
  lookup_.ask(names, take, urgent);
}

void TargetRegistry::ask_about_units() {
  std::vector<std::pair<uint32_t, TargetSpec>> due;
  {
    const std::lock_guard lock(work_mutex_);
    for (const auto& [id, entry] : entries_) {
      const bool is_due = entry->has_question() && entry->ask_at() <= Clock::now();
      if (entry->settings.spec.kind != TargetKind::Unit || !is_due) continue;
      due.emplace_back(id, entry->settings.spec);
      entry->doubt_asked = true;
    }
  }
  for (const auto& [id, spec] : due) {
    const Result<ResolvedTarget> resolved = resolve_target(spec, options_.resolve);
    const std::lock_guard lock(work_mutex_);
    const auto it = entries_.find(id);
    // Detached, replaced or attached by hand meanwhile.
    if (it == entries_.end() || it->second->settings.spec != spec) continue;
    if (it->second->has_question()) take_answer(*it->second, resolved);
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
      if (entry->settings.spec.kind != kind || !entry->has_question()) continue;
      next = std::min(next.value_or(entry->ask_at()), entry->ask_at());
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
  const bool is_sure = doubt.empty() && problem.empty();
  backend_.keep_leftovers(is_sure ? TargetBackend::Keep::No : TargetBackend::Keep::Yes);
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

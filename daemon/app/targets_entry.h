// TargetRegistry::Entry: one target of the registry and what is known of it now. Private to targets.cc,
// targets_watch.cc and targets_ask.cc; guarded by the registry's work_mutex_.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/app/targets.h"

namespace tapdeck::app {

struct TargetRegistry::Entry {
  uint32_t id = 0;
  TargetSettings settings;
  TargetStatus::State state = TargetStatus::State::Waiting;
  std::string detail;
  bool passes = false;           // is there, and the capture layer refused it
  std::string said;              // of what the log knows: why it passes
  bool container_made = false;   // a container's cgroup was made since it was last asked about
  bool container_asked = false;  // and it is being asked about because of one
  bool unknown = false;          // a runtime that may have it gave no answer
  ResolvedTarget resolved;       // of the last attachment
  bool ever_attached = false;
  unsigned interface_index = 0;
  uint64_t cgroup_inode = 0;                          // a directory made again under the same name is another cgroup
  std::map<std::string, uint64_t> uncaptured_before;  // counted in its slot before it was there
  UniqueFd pid_fd;                                    // readable when resolved.pid ended
  int64_t attached_at_ms = 0;
  std::optional<TargetTrust> trust;  // none: not our business
  std::string trouble;               // of the backend, at the last look
  TargetBackend::Gaps gaps_before;   // the backend's, in its slot before it was there
  uint64_t gaps = 0;
  std::chrono::milliseconds gap_total{0};
  std::chrono::steady_clock::time_point next_look{};
  std::chrono::milliseconds pause{0};    // between looks while it waits
  std::chrono::milliseconds routine{0};  // and while it is attached: short at first, while its processes are set up

  // The process stands for the target: when it ends, the target is gone or another one.
  [[nodiscard]] bool follows_pid() const {
    return settings.spec.kind != TargetKind::Cgroup && settings.spec.kind != TargetKind::Interface && resolved.pid > 0;
  }
  [[nodiscard]] bool is_there() const;
  [[nodiscard]] bool has_ended() const;  // the process it had
  [[nodiscard]] bool is_interface() const { return settings.spec.kind == TargetKind::Interface; }
  // To find it, another program has to be asked.
  [[nodiscard]] bool is_asked_for() const {
    return settings.spec.kind == TargetKind::Container || settings.spec.kind == TargetKind::Unit;
  }
};

}  // namespace tapdeck::app

// TargetRegistry::Entry: one target of the registry and what is known of it now. Private to targets.cc,
// targets_attach.cc, targets_watch.cc and targets_ask.cc; guarded by the registry's work_mutex_.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/app/targets.h"

namespace tapdeck::app {

struct TargetRegistry::Entry {
  using Clock = std::chrono::steady_clock;

  uint32_t id = 0;
  TargetSettings settings;
  TargetStatus::State state = TargetStatus::State::Waiting;
  std::string detail;
  bool passes = false;            // is there, and the capture layer refused it
  std::string said;               // of what the log knows: why it passes
  bool container_made = false;    // a container's cgroup was made since it was last asked about
  bool container_asked = false;   // and it is being asked about because of one
  bool unknown = false;           // a runtime that may have it gave no answer
  std::optional<Code> failed_as;  // why it waits
  ResolvedTarget resolved;        // of the last attachment
  bool ever_attached = false;
  // Since when what it does is to be captured and was not; none: it is captured, or nobody had asked for it.
  std::optional<Clock::time_point> due_since;
  bool from_before = false;  // of before a restart of the daemon: captured until due_since
  // Its cgroup's directory, made again where it was, until it is attached.
  uint64_t made_inode = 0;
  Clock::time_point made_at{};
  bool made_tried = false;  // to attach to it
  // While it is attached: its runtime is to be asked whether that is right.
  enum class Doubt {
    None,
    ItsCgroup,  // it was attached by the path of its cgroup alone
    ItsName,    // another container may have its name by now
  };
  Doubt doubt = Doubt::None;
  bool doubt_asked = false;  // it is being asked, and nothing has happened since
  Clock::time_point doubt_since{};
  Clock::time_point next_ask{};
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
  Clock::time_point next_look{};
  std::chrono::milliseconds pause{0};    // between looks while it waits, and questions while it is in doubt
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
  // And is to be; looks are left to who asks, then, unless it is attached.
  [[nodiscard]] bool is_left_to_askers() const { return is_asked_for() && state == TargetStatus::State::Waiting; }
  [[nodiscard]] bool has_question() const {
    const bool is_doubtful = state == TargetStatus::State::Attached && doubt != Doubt::None;
    return is_asked_for() && (state == TargetStatus::State::Waiting || is_doubtful);
  }
  [[nodiscard]] Clock::time_point ask_at() const {
    return state == TargetStatus::State::Attached ? next_ask : next_look;
  }
};

}  // namespace tapdeck::app

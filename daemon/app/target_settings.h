// What a person asked for a target, and the file that keeps it: targets.json in the state directory.
//
// Not what a target is doing now (targets.h). Thread: any; values, and functions without state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/app/target_resolve.h"
#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::config {
struct Capture;
struct Target;
}  // namespace tapdeck::config

namespace tapdeck::app {

enum class LeasePolicy { ByMode, Open, Closed };  // ByMode: closed for replay, else open

struct TargetSettings {
  TargetSpec spec;
  std::string title;                   // shown, and accepted in place of the id; empty: spec.name
  std::optional<std::string> session;  // unset: the daemon's active one
  std::optional<Mode> mode;            // unset: the daemon's default
  bool sealed = false;
  bool strict = false;
  LeasePolicy on_lease = LeasePolicy::ByMode;
  std::vector<std::string> bypass;
  uint64_t pid_start = 0;  // TargetKind::Pid: start of the process in clock ticks since boot; a reused pid is another

  [[nodiscard]] const std::string& shown() const { return title.empty() ? spec.name : title; }
};

// Whether connections are refused once the lease is past, in `mode`; of a sealed target they are in any case.
[[nodiscard]] bool closes_on_lease(const TargetSettings& settings, const config::Capture& capture, Mode mode);

using TargetList = std::map<uint32_t, TargetSettings>;  // by id

// What [[targets]] of the configuration asks for.
[[nodiscard]] TargetSettings settings_of(const config::Target& target);

// An absent file is an empty list. Corrupt names file and reason.
[[nodiscard]] Result<TargetList> load_targets(const std::filesystem::path& file);
// What the file says then.
[[nodiscard]] std::string text_of(const TargetList& targets);
// The id of the one that is meant by its id ("3"), its spec ("container:web"), or title, name or cgroup (see is_same)
// when only one target has it. NotFound names the nearest, InvalidArgument says which ids a name fits.
[[nodiscard]] Result<uint32_t> find_in(const TargetList& targets, const std::string& target,
                                       std::string_view cgroup_mount);
// Replaces the file atomically; on the disk when it returns. 0600.
Result<void> save_targets(const std::filesystem::path& file, const TargetList& targets);

}  // namespace tapdeck::app

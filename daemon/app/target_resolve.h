// From what a person types (--container web, --unit nginx, --pid 42 ...) to where the kernel has it: cgroup, pid for
// namespaces, interface. Asks podman, docker and systemctl by their command line, with a deadline.
//
// It keeps nothing and attaches nothing (targets.h does). Thread: any; calls block up to the deadline.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::app {

enum class TargetKind { Container, Pid, Unit, Cgroup, Interface };

struct TargetSpec {
  TargetKind kind = TargetKind::Container;
  std::string name;  // container name or id, decimal pid, unit name, cgroup path, interface name

  friend bool operator==(const TargetSpec&, const TargetSpec&) = default;
  // "container:web"; parse() reads it back.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] static std::optional<TargetSpec> parse(std::string_view text);
};

// What is to be attached: a cgroup without "." and ".." as far as they lead nowhere, and without '/' at its end.
[[nodiscard]] TargetSpec spec_of(TargetKind kind, const std::string& selector);
// Whether both mean the same. A cgroup may be named by its directory, or by its path below the mount ("/x", "x").
[[nodiscard]] bool is_same(const TargetSpec& a, const TargetSpec& b, std::string_view cgroup_mount);

[[nodiscard]] std::string_view to_string(TargetKind kind);
[[nodiscard]] std::optional<TargetKind> parse_target_kind(std::string_view text);

struct ResolvedTarget {
  std::string display;      // "container web (podman)", for people
  std::string cgroup_path;  // absolute directory in the cgroup2 mount; empty for an interface
  pid_t pid = 0;            // a process in its namespaces; 0 when there is none now (empty cgroup, interface)
  std::string interface;    // for TargetKind::Interface
  bool own_mounts = false;  // its mount namespace is not the host's
};

struct ResolveOptions {
  std::chrono::milliseconds deadline{10000};  // per command asked
  std::string mounts_file = "/proc/self/mounts";
  int cancel_fd = -1;  // readable: commands are given up
};

// NotFound (with the nearest names), Unsupported (the tool is not installed, no cgroup2, a cgroup that tapdeck itself
// is in), Busy (exists but is not running: may be retried), Timeout, InvalidArgument (not a pid, a path with ..).
[[nodiscard]] Result<ResolvedTarget> resolve_target(const TargetSpec& spec, const ResolveOptions& options = {});

// Up to three of `candidates` that look most like `name` (edit distance), best first.
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace tapdeck::app

#include "daemon/app/target_resolve.h"

#include <net/if.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "daemon/app/container_lookup.h"
#include "daemon/app/resolve_parts.h"
#include "daemon/app/tool.h"
#include "daemon/base/nearest.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {
namespace {

constexpr std::array<std::pair<TargetKind, std::string_view>, 5> kKinds = {{{TargetKind::Container, "container"},
                                                                            {TargetKind::Pid, "pid"},
                                                                            {TargetKind::Unit, "unit"},
                                                                            {TargetKind::Cgroup, "cgroup"},
                                                                            {TargetKind::Interface, "interface"}}};

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

// Attaching a cgroup we are in ourselves would make our own upstream sockets flows of the target.
Result<void> refuse_our_own(const std::string& mount, const std::string& path, const std::string& what) {
  if (path == mount) {
    return fail(Code::Unsupported,
                what +
                    " is in the root cgroup, which holds the whole host; put it into a cgroup of its own, start it "
                    "with 'tapdeck run', or attach an interface",
                Origin::Kernel);
  }
  const Result<std::string> own = kernel::cgroup2_line("/proc/self/cgroup");
  if (!own) return {};
  const std::string ours = mount + *own;
  if (ours == path || ours.starts_with(path + "/")) {
    return fail(Code::Unsupported, what + " shares the cgroup " + path + " with tapdeck itself", Origin::Kernel);
  }
  return {};
}

}  // namespace

pid_t any_pid_in(const std::string& path) {
  std::error_code error;
  std::vector<std::string> directories{path};
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) directories.push_back(it->path().string());
  }
  for (const std::string& directory : directories) {
    std::ifstream procs(directory + "/cgroup.procs");
    if (pid_t pid = 0; procs >> pid) return pid;
  }
  return 0;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::string nearest_text(std::string_view name, const std::vector<std::string>& candidates) {
  std::string text;
  for (const std::string& near : nearest_names(name, candidates)) text += (text.empty() ? "; nearest: " : ", ") + near;
  return text;
}

Result<ResolvedTarget> finish_target(ResolvedTarget target, const std::string& mount, const std::string& what) {
  TRY_VOID(refuse_our_own(mount, target.cgroup_path, what));
  if (!is_directory(target.cgroup_path)) {
    return fail(Code::NotFound, what + ": no cgroup2 directory " + target.cgroup_path, Origin::Kernel);
  }
  if (target.pid > 0) {
    const Result<bool> shared = trust::shares_host_mounts(target.pid);
    target.own_mounts = shared && !*shared;
  }
  return target;
}

namespace {

// ---- units

Result<ResolvedTarget> resolve_unit(const std::string& given, const ResolveOptions& options) {
  if (given.empty() || given.starts_with('-')) return fail(Code::InvalidArgument, "not a unit name: '" + given + "'");
  if (given.find_first_of("*?[") != std::string::npos) {
    return fail(Code::InvalidArgument,
                "'" + given + "' is a pattern; name one unit ('systemctl list-units' shows them)");
  }
  const std::string name = given.find('.') == std::string::npos ? given + ".service" : given;
  const Result<ToolOutput> answer =
      run_tool({"systemctl", "show", "--property=LoadState,ActiveState,ControlGroup,MainPID", "--", name},
               options.deadline, options.cancel_fd);
  if (!answer && answer.error().code == Code::NotFound) {
    return fail(Code::Unsupported, "unit '" + given + "': systemctl is not on PATH");
  }
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 0) {
    return fail(Code::Unsupported, "unit '" + given + "': systemctl said: " + first_line(answer->err));
  }
  std::map<std::string, std::string> values;
  for (const std::string& line : lines_of(answer->out)) {
    if (const size_t equals = line.find('='); equals != std::string::npos) {
      values[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  if (values["LoadState"] == "not-found" || values["LoadState"].empty()) {
    std::vector<std::string> known;
    const Result<ToolOutput> list = run_tool({"systemctl", "list-units", "--all", "--plain", "--no-legend", "--full"},
                                             options.deadline, options.cancel_fd);
    if (list && list->status == 0) {
      for (const std::string& line : lines_of(list->out)) known.push_back(line.substr(0, line.find(' ')));
    }
    return fail(Code::NotFound, "no unit '" + name + "'" + nearest_text(name, known) +
                                    "; one of a user's manager is reached by --pid or --cgroup");
  }
  if (values["ControlGroup"].size() < 2) {
    return fail(Code::Busy, "unit " + name + " is not running (" + values["ActiveState"] + ")");
  }
  TRY(mount, kernel::find_cgroup2_mount(options.mounts_file));
  ResolvedTarget target;
  target.display = "unit " + name;
  target.cgroup_path = mount + values["ControlGroup"];
  const std::string& main_pid = values["MainPID"];
  std::from_chars(main_pid.data(), main_pid.data() + main_pid.size(), target.pid);
  // Slices and scopes have no main process.
  if (target.pid == 0) target.pid = any_pid_in(target.cgroup_path);
  if (!is_directory(target.cgroup_path) && target.pid > 0) {
    return fail(Code::Unsupported, "systemd keeps unit " + name + " in cgroup v1 only, " + target.cgroup_path +
                                       " does not exist; boot with systemd.unified_cgroup_hierarchy or attach an "
                                       "interface");
  }
  const std::string display = target.display;
  return finish_target(std::move(target), mount, display);
}

// ---- the rest

Result<ResolvedTarget> resolve_pid(const std::string& text, const ResolveOptions& options) {
  pid_t pid = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || pid <= 0) {
    return fail(Code::InvalidArgument, "not a process id: '" + text + "'");
  }
  TRY(mount, kernel::find_cgroup2_mount(options.mounts_file));
  const std::string base = "/proc/" + text;
  std::string comm;
  std::getline(std::ifstream(base + "/comm"), comm);
  const Result<std::string> line = kernel::cgroup2_line(base + "/cgroup");
  if (!line) return fail(Code::NotFound, "no process " + text);
  ResolvedTarget target;
  target.display = "pid " + text + " (" + comm + ")";
  target.pid = pid;
  target.cgroup_path = *line == "/" ? mount : mount + *line;
  const std::string display = target.display;
  return finish_target(std::move(target), mount, display);
}

std::string tidy(const std::string& path) {
  std::string out = std::filesystem::path(path).lexically_normal().string();
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

// "/system.slice/x", as /proc/PID/cgroup and systemd print it, of that or of the whole path; empty: the root.
std::string below_mount(const std::string& given, std::string_view mount) {
  std::string path = tidy("/" + given);
  if (path == mount || path.starts_with(std::string(mount) + "/")) path.erase(0, mount.size());
  return path == "/" ? std::string() : path;
}

Result<ResolvedTarget> resolve_cgroup(const std::string& given, const ResolveOptions& options) {
  TRY(mount, kernel::find_cgroup2_mount(options.mounts_file));
  const std::filesystem::path normal = std::filesystem::path(given).lexically_normal();
  if (given.empty() || std::find(normal.begin(), normal.end(), "..") != normal.end()) {
    return fail(Code::InvalidArgument, "not a cgroup path: '" + given + "'");
  }
  const std::string path = mount + below_mount(given, mount);
  if (!is_directory(path)) {
    std::vector<std::string> known;
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    std::error_code error;
    for (std::filesystem::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_directory(ignored)) known.push_back(it->path().filename().string());
    }
    return fail(Code::NotFound,
                "no cgroup " + path + nearest_text(std::filesystem::path(path).filename().string(), known));
  }
  ResolvedTarget target;
  target.display = "cgroup " + path.substr(mount.size());
  target.cgroup_path = path;
  target.pid = any_pid_in(path);
  return finish_target(std::move(target), mount, "cgroup " + given);
}

Result<ResolvedTarget> resolve_interface(const std::string& name) {
  // Not through /sys, which may show another network namespace than the one we are in.
  if (::if_nametoindex(name.c_str()) == 0) {
    std::vector<std::string> known;
    if (struct if_nameindex* list = ::if_nameindex(); list != nullptr) {
      for (auto* entry = list; entry->if_index != 0; ++entry) known.emplace_back(entry->if_name);
      ::if_freenameindex(list);
    }
    return fail(Code::NotFound, "no interface '" + name + "'" + nearest_text(name, known));
  }
  ResolvedTarget target;
  target.display = "interface " + name;
  target.interface = name;
  return target;
}

}  // namespace

std::string_view to_string(TargetKind kind) {
  for (const auto& [value, text] : kKinds) {
    if (value == kind) return text;
  }
  return "container";
}

std::optional<TargetKind> parse_target_kind(std::string_view text) {
  for (const auto& [value, name] : kKinds) {
    if (name == text) return value;
  }
  return std::nullopt;
}

TargetSpec spec_of(TargetKind kind, const std::string& selector) {
  return {.kind = kind, .name = kind == TargetKind::Cgroup ? tidy(selector) : selector};
}

bool is_same(const TargetSpec& a, const TargetSpec& b, std::string_view cgroup_mount) {
  if (a.kind != TargetKind::Cgroup || b.kind != a.kind) return a == b;
  return below_mount(a.name, cgroup_mount) == below_mount(b.name, cgroup_mount);
}

std::string TargetSpec::to_string() const {
  return std::string(app::to_string(kind)) + ":" + name;
}

std::optional<TargetSpec> TargetSpec::parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return std::nullopt;
  const std::optional<TargetKind> kind = parse_target_kind(text.substr(0, colon));
  if (!kind) return std::nullopt;
  return TargetSpec{*kind, std::string(text.substr(colon + 1))};
}

Result<ResolvedTarget> resolve_target(const TargetSpec& spec, const ResolveOptions& options) {
  switch (spec.kind) {
    case TargetKind::Container:
      return resolve_container(spec.name, options);
    case TargetKind::Pid:
      return resolve_pid(spec.name, options);
    case TargetKind::Unit:
      return resolve_unit(spec.name, options);
    case TargetKind::Cgroup:
      return resolve_cgroup(spec.name, options);
    case TargetKind::Interface:
      return resolve_interface(spec.name);
  }
  return fail(Code::Internal, "unknown kind of target");
}

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, std::string>> scored;
  for (const std::string& candidate : candidates) {
    const bool inside = !name.empty() && candidate.find(name) != std::string::npos;
    const size_t distance = inside ? 1 : edit_distance(name, candidate);
    // More than half wrong is another name, not a slip.
    if (distance <= std::max<size_t>(2, name.size() / 2)) scored.emplace_back(distance, candidate);
  }
  std::sort(scored.begin(), scored.end());
  scored.erase(std::unique(scored.begin(), scored.end()), scored.end());
  std::vector<std::string> out;
  for (size_t i = 0; i < scored.size() && i < 3; ++i) out.push_back(scored[i].second);
  return out;
}

}  // namespace tapdeck::app

#include "daemon/app/container_lookup.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemon/app/resolve_parts.h"
#include "daemon/app/tool.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::app {
namespace {

constexpr std::array<const char*, 2> kRuntimes = {"podman", "docker"};
constexpr std::chrono::seconds kFirstSilence{60};
constexpr std::chrono::seconds kLongestSilence{600};

bool contains_any_case(std::string_view text, std::string_view word) {
  return std::search(text.begin(), text.end(), word.begin(), word.end(),
                     [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); }) != text.end();
}

struct Inspected {
  std::string name;
  std::string id;
  std::string state;
  pid_t pid = 0;
};

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// The answer of `podman inspect` and `docker inspect`: an array with an object for each that it found; both know these
// members. At least one.
Result<std::vector<Inspected>> parse_inspect(const std::string& tool, const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  const auto bad = [&] { return fail(Code::Protocol, "'" + tool + " inspect' printed something unexpected"); };
  if (!json.is_array() || json.empty()) return bad();
  std::vector<Inspected> out;
  for (const nlohmann::json& one : json) {
    if (!one.is_object()) return bad();
    const auto state = one.find("State");
    if (state == one.end() || !state->is_object()) return bad();
    Inspected container;
    container.name = text_of(one, "Name");
    if (container.name.starts_with('/')) container.name.erase(0, 1);  // docker's habit
    container.id = text_of(one, "Id");
    container.state = text_of(*state, "Status");
    const auto pid = state->find("Pid");
    if (pid != state->end() && pid->is_number_integer()) container.pid = pid->get<pid_t>();
    if (container.id.size() < 12) return bad();
    out.push_back(std::move(container));
  }
  return out;
}

// By name, or by the beginning of the id.
const Inspected* find_in(const std::vector<Inspected>& containers, const std::string& name) {
  const auto named = std::ranges::find(containers, name, &Inspected::name);
  if (named != containers.end()) return &*named;
  const auto with_id = std::ranges::find_if(containers, [&](const Inspected& one) { return one.id.starts_with(name); });
  return with_id == containers.end() ? nullptr : &*with_id;
}

// The container's cgroup is the part of its process's path up to the component with its id: systemd inside a container
// and crun move the process into a cgroup below.
std::string container_root(const std::string& path, const std::string& id) {
  const size_t at = path.find(id);
  if (at == std::string::npos) return path;
  return path.substr(0, path.find('/', at));
}

Result<ResolvedTarget> resolve_inspected(const std::string& tool, const Inspected& container,
                                         const ResolveOptions& options) {
  const std::string what = "container " + container.name + " (" + tool + ")";
  // "created" and "initialized" with a pid: its process waits at the runtime's gate, the best moment to attach.
  if (container.pid <= 0 || container.state == "exited" || container.state == "stopped" || container.state == "dead") {
    return fail(Code::Busy, what + " is not running (" + container.state + ")");
  }
  TRY(mount, kernel::find_cgroup2_mount(options.mounts_file));
  const Result<std::string> line = kernel::cgroup2_line("/proc/" + std::to_string(container.pid) + "/cgroup");
  if (!line) return fail(Code::Busy, what + ": its process " + std::to_string(container.pid) + " is gone");
  ResolvedTarget target;
  target.display = what;
  target.pid = container.pid;
  target.cgroup_path = *line == "/" ? mount : mount + container_root(*line, container.id);
  return finish_target(std::move(target), mount, what);
}

bool is_name(const std::string& name) {
  return !name.empty() && !name.starts_with('-');
}

Error bad_name(const std::string& name) {
  return {Code::InvalidArgument, "not a container name: '" + name + "'", Origin::Internal, Retry::No, 0};
}

// `trouble`: what a runtime said that failed, "; ..." each. It may well have the container: then that comes first.
Error no_container(const std::string& name, const std::string& more, const std::string& trouble) {
  if (!trouble.empty()) {
    return {Code::NotFound, trouble.substr(2) + "; whether there is a container '" + name + "' is not known" + more,
            Origin::Internal, Retry::No, 0};
  }
  return {Code::NotFound, "no container '" + name + "'" + more + "; a rootless one of a user is reached by --pid only",
          Origin::Internal, Retry::No, 0};
}

Error no_runtime(const std::string& name) {
  return {Code::Unsupported, "container '" + name + "': neither podman nor docker is on PATH; use --cgroup or --pid",
          Origin::Internal, Retry::No, 0};
}

}  // namespace

Result<ResolvedTarget> resolve_container(const std::string& name, const ResolveOptions& options) {
  if (!is_name(name)) return std::unexpected(bad_name(name));
  std::vector<std::string> known;
  std::string trouble;
  bool any_tool = false;
  std::optional<Error> not_running;
  for (const std::string tool : kRuntimes) {
    const Result<ToolOutput> answer =
        run_tool({tool, "inspect", "--type", "container", name}, options.deadline, options.cancel_fd);
    if (!answer && answer.error().code == Code::NotFound) continue;
    any_tool = true;
    if (!answer) {
      if (answer.error().code == Code::Cancelled) return std::unexpected(answer.error());
      trouble += "; " + answer.error().message();
      continue;
    }
    if (answer->status == 0) {
      TRY(containers, parse_inspect(tool, answer->out));
      Result<ResolvedTarget> target = resolve_inspected(tool, containers.front(), options);
      if (target || target.error().code != Code::Busy) return target;
      not_running = target.error();  // the other tool may have a running one of that name
      continue;
    }
    if (!contains_any_case(answer->err, "no such")) trouble += "; " + tool + " said: " + first_line(answer->err);
    const Result<ToolOutput> names =
        run_tool({tool, "ps", "-a", "--format", "{{.Names}}"}, options.deadline, options.cancel_fd);
    if (names && names->status == 0) {
      for (std::string& line : lines_of(names->out)) known.push_back(std::move(line));
    }
  }
  if (not_running) return std::unexpected(*not_running);
  return std::unexpected(any_tool ? no_container(name, nearest_text(name, known), trouble) : no_runtime(name));
}

bool ContainerLookup::is_silent(const std::string& tool) {
  const std::lock_guard lock(mutex_);
  const auto found = silent_.find(tool);
  return found != silent_.end() && Clock::now() < found->second.until;
}

void ContainerLookup::note(const std::string& tool, bool answered) {
  const std::lock_guard lock(mutex_);
  if (answered) {
    silent_.erase(tool);
    return;
  }
  Silence& silence = silent_[tool];
  if (Clock::now() < silence.until) return;  // it was asked all the same: no reason to leave it out for longer
  silence.length = std::clamp(silence.length * 2, kFirstSilence, kLongestSilence);
  silence.until = Clock::now() + silence.length;
}

void ContainerLookup::ask(const std::vector<std::string>& names, const Answer& answer, Urgent urgent) {
  std::vector<std::string> left;
  for (const std::string& name : names) {
    if (is_name(name)) {
      left.push_back(name);
    } else {
      answer(name, std::unexpected(bad_name(name)));
    }
  }
  std::map<std::string, Error> not_running;  // the other runtime may have a running one of that name
  std::string trouble;
  bool any_tool = false;
  bool all_answered = true;
  // One that gave no answer comes last: it holds up nobody whom the other has.
  auto tools = kRuntimes;
  if (is_silent(tools.front())) std::ranges::reverse(tools);
  for (const std::string tool : tools) {
    if (left.empty()) return;
    if (urgent == Urgent::No && is_silent(tool)) {
      any_tool = true;
      all_answered = false;
      trouble += "; " + tool + " gave no answer in time and is not asked for a while";
      continue;
    }
    std::vector<std::string> argv{tool, "inspect", "--type", "container"};
    argv.insert(argv.end(), left.begin(), left.end());
    const auto own = deadlines_.find(tool);
    const auto deadline = own == deadlines_.end() ? options_.deadline : own->second;
    const Result<ToolOutput> said = run_tool(std::move(argv), deadline, options_.cancel_fd);
    if (!said && said.error().code == Code::NotFound) continue;
    any_tool = true;
    const bool answered = said || said.error().code != Code::Timeout;
    note(tool, answered);
    if (!said) {
      all_answered &= answered;
      trouble += "; " + said.error().message();
      continue;
    }
    // Of those that are missing it complains and has a bad status, and prints the others.
    const Result<std::vector<Inspected>> containers = parse_inspect(tool, said->out);
    if (!containers && said->status == 0) trouble += "; " + containers.error().message();
    if (said->status != 0 && !contains_any_case(said->err, "no such")) {
      trouble += "; " + tool + " said: " + first_line(said->err);
    }
    if (!containers) continue;
    std::erase_if(left, [&](const std::string& name) {
      const Inspected* container = find_in(*containers, name);
      if (container == nullptr) return false;
      const Result<ResolvedTarget> target = resolve_inspected(tool, *container, options_);
      const bool is_final = target || target.error().code != Code::Busy;
      if (is_final) {
        answer(name, target);
      } else {
        not_running.insert_or_assign(name, target.error());
      }
      return is_final;
    });
  }
  for (const std::string& name : left) {
    const auto known = not_running.find(name);
    if (known != not_running.end()) {
      answer(name, std::unexpected(known->second));
    } else {
      Error error = any_tool ? no_container(name, "", trouble) : no_runtime(name);
      if (!all_answered) error.code = Code::Timeout;
      answer(name, std::unexpected(std::move(error)));
    }
  }
}

}  // namespace tapdeck::app

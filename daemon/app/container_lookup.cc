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

bool has_ended(const Inspected& container) {
  return container.state == "exited" || container.state == "stopped" || container.state == "dead";
}

Result<ResolvedTarget> resolve_inspected(const std::string& tool, const Inspected& container,
                                         const ResolveOptions& options) {
  const std::string what = "container " + container.name + " (" + tool + ")";
  // "created" and "initialized" with a pid: its process waits at the runtime's gate, the best moment to attach.
  if (container.pid <= 0 || has_ended(container)) {
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

// What one runtime had to say about containers.
struct Inspection {
  bool is_installed = true;
  std::optional<Error> silence;   // it gave no answer
  std::optional<Error> nonsense;  // it found them, and what it printed cannot be read
  std::vector<Inspected> containers;
  std::string trouble;  // "; ...": what else kept it from being one; not that a container is missing
};

Inspection inspect(const std::string& tool, const std::vector<std::string>& names, std::chrono::milliseconds deadline,
                   int cancel_fd) {
  Inspection out;
  std::vector<std::string> argv{tool, "inspect", "--type", "container"};
  argv.insert(argv.end(), names.begin(), names.end());
  const Result<ToolOutput> said = run_tool(std::move(argv), deadline, cancel_fd);
  if (!said) {
    out.is_installed = said.error().code != Code::NotFound;
    out.silence = said.error();
    if (out.is_installed) out.trouble = "; " + said.error().message();
    return out;
  }
  // Of those that are missing it complains and has a bad status, and prints the others.
  Result<std::vector<Inspected>> containers = parse_inspect(tool, said->out);
  if (!containers && said->status == 0) {
    out.nonsense = containers.error();
    out.trouble += "; " + containers.error().message();
  }
  if (said->status != 0 && !contains_any_case(said->err, "no such")) {
    out.trouble += "; " + tool + " said: " + first_line(said->err);
  }
  if (containers) out.containers = std::move(*containers);
  return out;
}

void add_known(const std::string& tool, const ResolveOptions& options, std::vector<std::string>& names) {
  const Result<ToolOutput> said =
      run_tool({tool, "ps", "-a", "--format", "{{.Names}}"}, options.deadline, options.cancel_fd);
  if (!said || said->status != 0) return;
  for (std::string& line : lines_of(said->out)) names.push_back(std::move(line));
}

// It is known what the name stands for, if only that it cannot be used. Else the other runtime may have a running one.
bool is_final(const Result<ResolvedTarget>& target) {
  return target || target.error().code != Code::Busy;
}

}  // namespace

Result<ResolvedTarget> resolve_container(const std::string& name, const ResolveOptions& options) {
  if (!is_name(name)) return std::unexpected(bad_name(name));
  std::vector<std::string> known;
  std::string trouble;
  bool any_tool = false;
  std::optional<Error> not_running;
  for (const std::string tool : kRuntimes) {
    const Inspection seen = inspect(tool, {name}, options.deadline, options.cancel_fd);
    if (!seen.is_installed) continue;
    any_tool = true;
    trouble += seen.trouble;
    if (seen.nonsense) return std::unexpected(*seen.nonsense);
    if (seen.silence) {
      if (seen.silence->code == Code::Cancelled) return std::unexpected(*seen.silence);
    } else if (seen.containers.empty()) {
      add_known(tool, options, known);
    } else {
      Result<ResolvedTarget> target = resolve_inspected(tool, seen.containers.front(), options);
      if (is_final(target)) return target;
      not_running = target.error();
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

void ContainerLookup::note(const std::string& tool, Answered answered) {
  const std::lock_guard lock(mutex_);
  if (answered == Answered::Yes) {
    silent_.erase(tool);
    return;
  }
  Silence& silence = silent_[tool];
  if (Clock::now() < silence.until) return;  // it was asked all the same: no reason to leave it out for longer
  silence.length = std::clamp(silence.length * 2, kFirstSilence, kLongestSilence);
  silence.until = Clock::now() + silence.length;
}

void ContainerLookup::ask(const std::vector<std::string>& names, const Answer& answer, Urgent urgent) {
  Round round{.answer = answer};
  for (const std::string& name : names) {
    if (is_name(name)) {
      round.left.push_back(name);
    } else {
      answer(name, std::unexpected(bad_name(name)), "");
    }
  }
  // One that gave no answer comes last: it holds up nobody whom the other has.
  auto tools = kRuntimes;
  if (is_silent(tools.front())) std::ranges::reverse(tools);
  for (const std::string tool : tools) {
    if (round.left.empty()) return;
    if (urgent == Urgent::No && is_silent(tool)) {
      round.any_tool = true;
      round.all_answered = false;
      round.trouble += "; " + tool + " gave no answer in time and is not asked for a while";
    } else {
      ask_one(tool, round);
    }
  }
  answer_left(round);
}

void ContainerLookup::ask_one(const std::string& tool, Round& round) {
  const auto own = deadlines_.find(tool);
  const auto deadline = own == deadlines_.end() ? options_.deadline : own->second;
  const Inspection seen = inspect(tool, round.left, deadline, options_.cancel_fd);
  if (!seen.is_installed) return;
  const bool answered = !seen.silence || seen.silence->code != Code::Timeout;
  note(tool, answered ? Answered::Yes : Answered::No);
  round.any_tool = true;
  round.all_answered &= answered;
  round.trouble += seen.trouble;
  std::erase_if(round.left, [&](const std::string& name) {
    const Inspected* container = find_in(seen.containers, name);
    if (container == nullptr) return false;
    const Result<ResolvedTarget> target = resolve_inspected(tool, *container, options_);
    if (!is_final(target)) {
      round.not_running.insert_or_assign(
          name, NotRunning{target.error(), has_ended(*container) ? container->id : std::string()});
      return false;
    }
    round.answer(name, target, "");
    return true;
  });
}

void ContainerLookup::answer_left(const Round& round) {
  for (const std::string& name : round.left) {
    const auto known = round.not_running.find(name);
    if (known != round.not_running.end()) {
      round.answer(name, std::unexpected(known->second.error), known->second.ended);
      continue;
    }
    Error error = round.any_tool ? no_container(name, "", round.trouble) : no_runtime(name);
    if (!round.all_answered) error.code = Code::Timeout;
    round.answer(name, std::unexpected(std::move(error)), "");
  }
}

}  // namespace tapdeck::app

#include "daemon/app/target_settings.h"

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "daemon/app/json_view.h"
#include "daemon/base/whole_file.h"
#include "daemon/config/config.h"

namespace tapdeck::app {
namespace {

std::string_view to_text(LeasePolicy policy) {
  switch (policy) {
    case LeasePolicy::Open:
      return "open";
    case LeasePolicy::Closed:
      return "closed";
    case LeasePolicy::ByMode:
      break;
  }
  return "by-mode";
}

Json encode(uint32_t id, const TargetSettings& settings) {
  Json json = {{"id", id},
               {"spec", settings.spec.to_string()},
               {"sealed", settings.sealed},
               {"strict", settings.strict},
               {"on_lease", to_text(settings.on_lease)},
               {"bypass", settings.bypass}};
  if (!settings.title.empty()) json["title"] = settings.title;
  if (settings.session) json["session"] = *settings.session;
  if (settings.mode) json["mode"] = to_string(*settings.mode);
  if (settings.pid_start != 0) json["pid_start"] = settings.pid_start;
  return json;
}

// nullopt when a member is missing or of another type. nlohmann's typed value() throws on a wrong type, hence the
// checks before each.
std::optional<std::pair<uint32_t, TargetSettings>> decode(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  const auto text = [&](const char* key) -> std::optional<std::string> {
    const auto it = json.find(key);
    if (it == json.end() || !it->is_string()) return std::nullopt;
    return it->get<std::string>();
  };
  const auto flag = [&](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_boolean() && it->get<bool>();
  };
  const auto id = json.find("id");
  const std::optional<TargetSpec> spec = TargetSpec::parse(text("spec").value_or(""));
  if (id == json.end() || !id->is_number_unsigned() || !spec) return std::nullopt;
  TargetSettings settings;
  settings.spec = *spec;
  settings.title = text("title").value_or("");
  settings.session = text("session");
  if (const auto mode = text("mode")) {
    settings.mode = parse_mode(*mode);
    if (!settings.mode) return std::nullopt;
  }
  settings.sealed = flag("sealed");
  settings.strict = flag("strict");
  const std::string lease = text("on_lease").value_or("by-mode");
  if (lease == "open") settings.on_lease = LeasePolicy::Open;
  if (lease == "closed") settings.on_lease = LeasePolicy::Closed;
  if (const auto it = json.find("bypass"); it != json.end() && it->is_array()) {
    for (const Json& item : *it) {
      if (item.is_string()) settings.bypass.push_back(item.get<std::string>());
    }
  }
  if (const auto it = json.find("pid_start"); it != json.end() && it->is_number_unsigned()) {
    settings.pid_start = it->get<uint64_t>();
  }
  return std::make_pair(id->get<uint32_t>(), std::move(settings));
}

}  // namespace

bool closes_on_lease(const TargetSettings& settings, const config::Capture& capture, Mode mode) {
  if (settings.on_lease != LeasePolicy::ByMode) return settings.on_lease == LeasePolicy::Closed;
  return config::lease_policy(capture, mode) == config::OnLease::Closed;
}

TargetSettings settings_of(const config::Target& target) {
  TargetSettings settings;
  switch (target.kind) {
    case config::TargetKind::Container:
      settings.spec.kind = TargetKind::Container;
      break;
    case config::TargetKind::Unit:
      settings.spec.kind = TargetKind::Unit;
      break;
    case config::TargetKind::Cgroup:
      settings.spec.kind = TargetKind::Cgroup;
      break;
    case config::TargetKind::Interface:
      settings.spec.kind = TargetKind::Interface;
      break;
    case config::TargetKind::Pid:
      settings.spec.kind = TargetKind::Pid;
      break;
  }
  settings.spec.name = target.selector;
  settings.title = target.name;
  settings.session = target.session;
  settings.mode = target.mode;
  settings.sealed = target.sealed;
  settings.strict = target.strict;
  settings.bypass = target.bypass;
  return settings;
}

Result<TargetList> load_targets(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) {
    if (errno == ENOENT) return TargetList{};
    return fail_errno(errno, "open " + file.string());
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Json json = Json::parse(text, nullptr, false);
  const auto corrupt = [&](const std::string& why) { return fail(Code::Corrupt, file.string() + ": " + why); };
  if (!json.is_object()) return corrupt("not a JSON object");
  const auto version = json.find("version");
  if (version == json.end() || *version != 1) return corrupt("not of version 1");
  const auto items = json.find("targets");
  if (items == json.end() || !items->is_array()) return corrupt("no list of targets");
  TargetList targets;
  for (const Json& item : *items) {
    auto one = decode(item);
    if (!one)
      return corrupt("target that does not decode: " + item.dump(-1, ' ', true, Json::error_handler_t::replace));
    targets.insert(std::move(*one));
  }
  return targets;
}

std::string text_of(const TargetList& targets) {
  Json items = Json::array();
  for (const auto& [id, settings] : targets) items.push_back(encode(id, settings));
  const Json json = {{"version", 1}, {"targets", std::move(items)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<uint32_t> find_in(const TargetList& targets, const std::string& target, std::string_view cgroup_mount) {
  if (target.empty()) return fail(Code::InvalidArgument, "which target is empty");
  uint32_t number = 0;
  const auto parsed = std::from_chars(target.data(), target.data() + target.size(), number);
  const bool is_number = parsed.ec == std::errc{} && parsed.ptr == target.data() + target.size();
  if (is_number && targets.contains(number)) return number;
  const TargetSpec asked = TargetSpec::parse(target).value_or(TargetSpec{TargetKind::Cgroup, target});
  std::vector<uint32_t> fits, same;
  std::vector<std::string> known;
  for (const auto& [id, settings] : targets) {
    if (settings.spec.to_string() == target) return id;
    if (settings.shown() == target || settings.spec.name == target) fits.push_back(id);
    if (is_same(settings.spec, asked, cgroup_mount)) same.push_back(id);
    known.push_back(settings.shown());
  }
  if (fits.empty()) fits = std::move(same);  // a name that is somebody's is not also read as a path
  if (fits.size() == 1) return fits.front();
  if (fits.empty()) {
    std::string detail = "no target '" + target + "'";
    const std::vector<std::string> near = nearest_names(target, known);
    for (size_t i = 0; i < near.size(); ++i) detail += (i == 0 ? "; nearest: " : ", ") + near[i];
    return fail(Code::NotFound, detail);
  }
  std::string detail = "'" + target + "' fits several targets, name one by id:";
  for (const uint32_t id : fits) detail += " " + std::to_string(id) + " (" + targets.at(id).spec.to_string() + ")";
  return fail(Code::InvalidArgument, detail);
}

Result<void> save_targets(const std::filesystem::path& file, const TargetList& targets) {
  return replace_file(file, text_of(targets), 0600, Sync::Name);
}

}  // namespace tapdeck::app

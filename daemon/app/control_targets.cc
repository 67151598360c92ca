// AppControl, the part about targets and modes, and which session each uses.
#include <algorithm>
#include <utility>

#include "daemon/app/control.h"
#include "daemon/app/json_view.h"
#include "daemon/app/kept_mode.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/run_directory.h"
#include "store/exchange_store.h"

namespace tapdeck::app {
namespace {

constexpr std::string_view kProxyId = "0";

// What a dead daemon's target meets whose connections were to be refused; empty: nothing is left of it.
std::string_view until_a_daemon_runs(kernel::Aftermath left) {
  switch (left) {
    case kernel::Aftermath::Stands:
      return "; where it was captured, the kernel refuses its connections until one does (or tapdeck clean)";
    case kernel::Aftermath::Lost:
      return "; it should be refused and IS OPEN: what refused it went with the daemon's mount namespace";
    case kernel::Aftermath::None:
      break;
  }
  return "";
}

// It is in force all the same.
std::string unkept(const std::string& what, const Error& why) {
  return what + " now, but the daemon's next start will not know it: " + why.detail;
}

// Mode and session are those in force. `kept`: what was said of it holds over the next start of the daemon.
Json view_of(TargetStatus target, bool configured, const Defaults& now) {
  if (!target.settings.mode) target.settings.mode = now.mode;
  if (!target.settings.session) target.settings.session = now.session;
  Json view = target_view(target);
  const bool is_proxy = target.id == 0 && target.settings.spec.name == kProxyTarget;
  if (is_proxy) view["target"] = kProxyTarget;
  view["configured"] = configured;
  view["kept"] = !is_proxy && !configured;
  return view;
}

}  // namespace

// As the backend of a daemon with this configuration would have it.
bool AppControl::is_closed(const TargetSettings& settings) const {
  if (settings.sealed) return true;
  if (parts_.config == nullptr) return settings.on_lease == LeasePolicy::Closed;
  return closes_on_lease(settings, parts_.config->capture, settings.mode.value_or(defaults().mode));
}

// The state that outlives a daemon, for `tapdeck targets` without one.
Result<std::vector<TargetStatus>> AppControl::kept_targets() {
  std::vector<TargetStatus> out;
  TRY(kept, load_targets(parts_.targets_file));
  const std::string reason = readiness().reason;
  const auto left = parts_.unreachable_pid == 0 && !parts_.run_dir.empty()
                        ? kernel::aftermath_of_the_dead(parts_.run_dir.string())
                        : kernel::Aftermath::None;
  for (const auto& [id, settings] : kept) {
    TargetStatus status;
    status.id = id;
    status.settings = settings;
    status.detail = reason;
    if (is_closed(settings)) status.detail += until_a_daemon_runs(left);
    out.push_back(std::move(status));
  }
  return out;
}

bool AppControl::is_proxy_target(const std::string& target) const {
  return (target == kProxyTarget || target == kProxyId) && parts_.runtime != nullptr &&
         parts_.runtime->proxy_target().has_value();
}

std::vector<TargetStatus> AppControl::all_targets() const {
  std::vector<TargetStatus> all;
  if (parts_.targets != nullptr) all = parts_.targets->list();
  if (parts_.runtime != nullptr) {
    if (auto proxy = parts_.runtime->proxy_target()) all.push_back(std::move(*proxy));
  }
  return all;
}

bool AppControl::is_configured(const TargetSpec& spec) const {
  return parts_.config != nullptr && std::ranges::any_of(parts_.config->targets, [&](const config::Target& target) {
           return settings_of(target).spec == spec;
         });
}

Result<admin::Json> AppControl::update_target(const std::string& target,
                                              const std::function<void(TargetSettings&)>& change,
                                              std::string_view what) {
  if (is_proxy_target(target)) {
    TRY_VOID(parts_.runtime->update_proxy_target(change));
    return dump(view_of(*parts_.runtime->proxy_target(), false, defaults()));
  }
  if (parts_.targets == nullptr) return no_daemon(what);
  TRY(status, parts_.targets->update(target, change));
  return dump(view_of(status, is_configured(status.settings.spec), defaults()));
}

Result<admin::Json> AppControl::activate_session(const std::string& name, const std::string& target) {
  TRY(info, parts_.store->session(name));  // NotFound names the nearest
  if (!target.empty()) {
    return update_target(
        target, [&](TargetSettings& settings) { settings.session = name; }, "activating a session for a target");
  }
  if (parts_.runtime != nullptr) {
    TRY_VOID(parts_.runtime->set_defaults({.mode = parts_.runtime->defaults().mode, .session = name}));
  }
  auto stored = parts_.store->activate_session(name);
  if (!stored) {
    if (parts_.runtime != nullptr) stored.error().detail = unkept("the session is " + name, stored.error());
    return std::unexpected(stored.error());
  }
  info.active = true;
  return dump(session_view(info));
}

Result<admin::Json> AppControl::rewind_session(const std::string& name, const std::string& target) {
  if (parts_.store == nullptr) return no_daemon("rewinding a session");
  TRY(info, parts_.store->session(name));
  // Without a daemon there are no cursors: every run begins at the first recording.
  if (parts_.runtime == nullptr) return dump(done_view("nothing", info.name));
  std::optional<uint32_t> one;
  if (!target.empty()) {
    if (parts_.targets == nullptr && !is_proxy_target(target)) return no_daemon("rewinding a target");
    TRY(status, is_proxy_target(target) ? *parts_.runtime->proxy_target() : parts_.targets->find(target));
    const std::string used = status.settings.session.value_or(defaults().session);
    if (used != info.name) {
      return fail(Code::InvalidArgument, "target '" + status.settings.shown() + "' uses session '" + used + "', not '" +
                                             info.name + "'; nothing was rewound");
    }
    one = status.id;
  }
  parts_.runtime->rewind(one);
  return dump(done_view("rewound", info.name));
}

Result<admin::Json> AppControl::mode() {
  if (parts_.runtime == nullptr) return no_daemon("the mode in force");
  const Defaults now = defaults();
  Json out = {{"mode", to_string(now.mode)}, {"session", now.session}, {"targets", Json::array()}};
  if (parts_.config != nullptr) {
    const Mode configured = parts_.config->proxy.mode;
    const auto next = mode_of_next_start(parts_.mode_file, configured);
    out["configured"] = to_string(configured);
    out["kept"] = next && *next == now.mode;
  }
  for (const TargetStatus& target : all_targets()) {
    out["targets"].push_back({{"id", std::to_string(target.id)},
                              {"name", target.settings.shown()},
                              {"mode", to_string(target.settings.mode.value_or(now.mode))},
                              {"session", target.settings.session.value_or(now.session)}});
  }
  return dump(out);
}

Result<admin::Json> AppControl::set_mode(Mode mode, const std::string& target) {
  if (parts_.runtime == nullptr) return no_daemon("changing the mode");
  if (!target.empty()) {
    return update_target(
        target, [&](TargetSettings& settings) { settings.mode = mode; }, "changing the mode of a target");
  }
  TRY_VOID(parts_.runtime->set_defaults({.mode = mode, .session = parts_.runtime->defaults().session}));
  if (parts_.config != nullptr) {
    // It stays in force all the same: on a full disk, too, replay is what was wanted.
    auto saved = save_mode(parts_.mode_file, {.mode = mode, .configured = parts_.config->proxy.mode});
    if (!saved) {
      saved.error().detail = unkept("the mode is " + std::string(to_string(mode)), saved.error());
      return std::unexpected(saved.error());
    }
  }
  return this->mode();
}

Result<admin::Json> AppControl::follow_daemon(admin::Own what, const std::string& target) {
  const auto change = [what](TargetSettings& settings) {
    if (what == admin::Own::Mode) {
      settings.mode.reset();
    } else {
      settings.session.reset();
    }
  };
  return update_target(target, change, "changing a target");
}

Result<admin::Json> AppControl::targets() {
  Json out = {{"items", Json::array()}, {"next", nullptr}};
  std::vector<TargetStatus> all = all_targets();
  if (parts_.targets == nullptr) {
    TRY(kept, kept_targets());
    all = std::move(kept);
  }
  const Defaults now = defaults();
  for (const TargetStatus& target : all)
    out["items"].push_back(view_of(target, is_configured(target.settings.spec), now));
  return dump(out);
}

namespace {

Result<void> check_title(const std::string& name) {
  if (const auto problem = config::check_target_name(name))
    return fail(Code::InvalidArgument, "the name of a target " + *problem);
  const bool is_number = name.find_first_not_of("0123456789") == std::string::npos;
  if (is_number || name == kProxyTarget) {
    return fail(Code::InvalidArgument,
                "a target cannot be called '" + name + "': " +
                    (is_number ? "that is how ids look" : "that is the explicit proxy's; choose another --name"));
  }
  return {};
}

}  // namespace

Result<admin::Json> AppControl::attach(const admin::AttachRequest& request) {
  if (parts_.targets == nullptr) return no_daemon("attach");
  const auto kind = parse_target_kind(request.kind);
  if (!kind) {
    return fail(Code::InvalidArgument,
                "target kind '" + request.kind + "' is not container, pid, unit, cgroup or interface");
  }
  if (request.selector.empty()) return fail(Code::InvalidArgument, "which " + request.kind + " to attach is empty");
  TargetSettings settings;
  settings.spec = spec_of(*kind, request.selector);
  const TargetSpec asked = settings.spec;
  const std::string mount = kernel::find_cgroup2_mount().value_or("");
  for (const TargetStatus& known : parts_.targets->list()) {
    if (is_same(known.settings.spec, asked, mount)) {
      settings = known.settings;  // attached again: what is not said now stays as it is
    } else if (!request.name.empty() && known.settings.shown() == request.name) {
      return fail(Code::AlreadyExists, "target " + std::to_string(known.id) + " (" + known.settings.spec.to_string() +
                                           ") is called '" + request.name + "' already; choose another --name");
    }
  }
  if (!request.name.empty()) {
    TRY_VOID(check_title(request.name));
    settings.title = request.name;
  } else if (settings.shown() == kProxyTarget) {
    TRY_VOID(check_title(kProxyTarget));
  }
  if (request.session) settings.session = request.session;
  if (request.mode) settings.mode = request.mode;
  settings.sealed |= request.sealed;
  TRY(status, parts_.targets->attach(std::move(settings)));
  return dump(view_of(status, is_configured(status.settings.spec), defaults()));
}

// From the list alone: the way out when the daemon does not start because of it.
Result<admin::Json> AppControl::detach_kept(const std::string& target) {
  TRY(kept, load_targets(parts_.targets_file));
  if (kept.empty() || parts_.unreachable_pid != 0) return no_daemon("detach");
  TRY(id, find_in(kept, target, kernel::find_cgroup2_mount().value_or("")));
  const TargetSettings settings = kept.at(id);
  kept.erase(id);
  TRY_VOID(save_targets(parts_.targets_file, kept));
  const auto left =
      parts_.run_dir.empty() ? kernel::Aftermath::None : kernel::aftermath_of_the_dead(parts_.run_dir.string());
  Json out = done_view("detached", target);
  out["configured"] = is_configured(settings.spec);
  out["detail"] = "no daemon runs; its next start will not know it";
  if (is_closed(settings)) out["detail"] = out["detail"].get<std::string>() + std::string(until_a_daemon_runs(left));
  return dump(out);
}

Result<admin::Json> AppControl::detach(const std::string& id) {
  if (parts_.targets == nullptr) return detach_kept(id);
  if (is_proxy_target(id)) {
    return fail(Code::Unsupported,
                "target '" + std::string(kProxyTarget) + "' is the " + parts_.runtime->proxy_target()->display +
                    ", not something attached; take proxy.listen out of the configuration and restart to be rid of it");
  }
  TRY(status, parts_.targets->find(id));
  TRY_VOID(parts_.targets->detach(id));
  Json out = done_view("detached", id);
  out["configured"] = is_configured(status.settings.spec);
  return dump(out);
}

}  // namespace tapdeck::app

// AppControl: the admin API's questions answered from the store, the target registry and the run-time defaults. The
// listing commands use the same class on a store nobody owns, so that a daemon and an empty house answer alike.
//
// It keeps no state of its own. Owner: serve, or one CLI command. Thread: one at a time (see admin/control.h).
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "daemon/admin/control.h"
#include "daemon/app/targets.h"
#include "daemon/base/metrics.h"
#include "daemon/config/config.h"

namespace tapdeck::store {
class ExchangeStore;
struct Recording;
struct BodyRef;
}  // namespace tapdeck::store

namespace tapdeck::app {

// Mode and session of flows whose target names none.
struct Defaults {
  Mode mode = Mode::Record;
  std::string session = "default";
};

// What only a live daemon can do. Called on the admin's slow thread, one call at a time, but readiness(), which may
// come from another thread at the same time.
class Runtime {
 public:
  virtual ~Runtime() = default;
  [[nodiscard]] virtual Defaults defaults() = 0;
  // Opens a new take where the mode records, and publishes; also for targets that follow the defaults. On an error
  // nothing has changed.
  virtual Result<void> set_defaults(const Defaults& defaults) = 0;
  // Replay cursors begin again at the first recording: those of one target (its id), or all.
  virtual void rewind(std::optional<uint32_t> target) = 0;
  [[nodiscard]] virtual admin::Readiness readiness() = 0;
  // The clients of the explicit listener, which are a target without being attached; nullopt: there is no listener.
  // What `change` says lasts until the daemon ends.
  [[nodiscard]] virtual std::optional<TargetStatus> proxy_target() { return std::nullopt; }
  virtual Result<void> update_proxy_target(const std::function<void(TargetSettings&)>& /*change*/) {
    return fail(Code::NotFound, "proxy.listen is off");
  }
};

using config::kProxyTarget;

// What people write for a recording. InvalidArgument says where to find one.
[[nodiscard]] Result<uint64_t> recording_id(const std::string& text);

class AppControl final : public admin::Control {
 public:
  // What there is; null pointers where no daemon lives (or no metrics are kept, or nothing was ever recorded: then only
  // what asks a daemon may be called, and targets() and status()). All outlive this.
  struct Parts {
    store::ExchangeStore* store = nullptr;
    TargetRegistry* targets = nullptr;
    Runtime* runtime = nullptr;
    MetricsRegistry* metrics = nullptr;
    std::filesystem::path state_dir;
    std::filesystem::path targets_file;      // read when `targets` is null
    const config::Config* config = nullptr;  // what the daemon was started with, or would be; null: not known
    std::filesystem::path mode_file = {};    // where set_mode() keeps it; used when `config` is set
    std::filesystem::path run_dir = {};      // what a dead daemon left is looked for there; empty: not looked for
    int unreachable_pid = 0;                 // a process owns the store, and does not answer on its admin socket
    std::string unreachable_socket = {};
  };
  explicit AppControl(Parts parts);

  [[nodiscard]] admin::Readiness readiness() override;
  [[nodiscard]] Result<admin::Json> status() override;
  [[nodiscard]] Result<admin::Json> sessions(const admin::Page& page) override;
  [[nodiscard]] Result<admin::Json> session(const std::string& name) override;
  [[nodiscard]] Result<admin::Json> names(const std::string& session, const admin::Page& page) override;
  Result<admin::Json> create_session(const std::string& name) override;
  Result<admin::Json> delete_session(const std::string& name) override;
  Result<admin::Json> activate_session(const std::string& name, const std::string& target) override;
  Result<admin::Json> rewind_session(const std::string& name, const std::string& target) override;
  Result<admin::Json> export_session(const std::string& name, const std::string& path) override;
  Result<admin::Json> import_session(const std::string& name, const std::string& path) override;
  [[nodiscard]] Result<admin::Json> recordings(const admin::RecordingFilter& filter, const admin::Page& page) override;
  [[nodiscard]] Result<admin::Json> recording(const std::string& id) override;
  [[nodiscard]] Result<admin::Pieces> recording_body(const std::string& id, BodyOf which) override;
  Result<admin::Json> delete_recording(const std::string& id) override;
  [[nodiscard]] Result<admin::Json> mode() override;
  Result<admin::Json> set_mode(Mode mode, const std::string& target) override;
  [[nodiscard]] Result<admin::Json> targets() override;
  Result<admin::Json> attach(const admin::AttachRequest& request) override;
  Result<admin::Json> detach(const std::string& id) override;
  Result<admin::Json> follow_daemon(admin::Own what, const std::string& target) override;

 private:
  // Without a daemon, those of its next start.
  [[nodiscard]] Defaults defaults() const;
  // As the registry's, and the explicit listener's clients by their name.
  Result<admin::Json> update_target(const std::string& target, const std::function<void(TargetSettings&)>& change,
                                    std::string_view what);
  [[nodiscard]] bool is_closed(const TargetSettings& settings) const;
  [[nodiscard]] bool is_configured(const TargetSpec& spec) const;
  [[nodiscard]] Result<std::vector<TargetStatus>> kept_targets();
  Result<admin::Json> detach_kept(const std::string& target);
  [[nodiscard]] bool is_proxy_target(const std::string& target) const;
  [[nodiscard]] std::vector<TargetStatus> all_targets() const;
  [[nodiscard]] std::unexpected<Error> no_daemon(std::string_view what) const;
  [[nodiscard]] std::string unreachable() const;

  Parts parts_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace tapdeck::app

// TargetRegistry: the targets of a daemon, kept over its restarts and theirs until `detach`.
//
// It owns the list (target_settings.h), finds each target, has the capture layer attach it, binds trust into its mount
// namespaces, and does so again when a container or unit comes back as another process or in another cgroup. It does
// not capture: TargetBackend does. Owner: the app. Thread: every public call from any thread; of its own threads one
// watches, and never asks another program; one asks podman and docker about containers that are waited for or may be
// others by now, one systemctl about units. Calls may block for as long as these programs take to answer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/app/container_lookup.h"
#include "daemon/app/target_resolve.h"
#include "daemon/app/target_settings.h"
#include "daemon/app/target_trust.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/config/config.h"

namespace tapdeck::app {

struct MadeCgroups;

// The capture layer and the run-time state, as the registry sees them. Calls come from one thread at a time, but not
// always from the same one.
class TargetBackend {
 public:
  virtual ~TargetBackend() = default;
  enum class Why {
    Asked,  // by a person, who is told what is wrong
    Kept,   // of before a restart, of the configuration, or come back: what may not pass uncaptured is captured anyway
  };
  // Captures resolved.cgroup_path or resolved.interface for `slot`. A slot already attached is replaced.
  virtual Result<void> attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved,
                              Why why) = 0;
  // Why an attached slot answers nothing, because it was attached anyway; empty: it does. update() tries again.
  virtual std::string lacking(uint32_t /*slot*/) { return {}; }
  // Why nothing of an attached slot is captured for now, though it is there, and the way out; empty: it is.
  virtual std::string trouble(uint32_t /*slot*/) { return {}; }
  // Times that what is attached was not captured, and how long together; never less.
  struct Gaps {
    uint64_t count = 0;
    std::chrono::milliseconds total{0};
  };
  virtual Gaps gaps(uint32_t /*slot*/) { return {}; }
  // What else is to be known of an attached slot, for people; empty: nothing.
  virtual std::string remark(uint32_t /*slot*/) { return {}; }
  // What is not captured is to be refused. The default knows nothing of a daemon's defaults.
  virtual bool is_closed(const TargetSettings& settings) {
    return settings.sealed || settings.mode == Mode::Replay || settings.on_lease == LeasePolicy::Closed;
  }
  // Every second or so, of what is attached and there: what else may have changed. It may take long, and other calls
  // come meanwhile.
  virtual void look_again(uint32_t /*slot*/) {}
  // What is no slot of the registry's and waits for something, a session above all: tries again. True: it still waits,
  // and is asked again within a second or so. Other calls may come meanwhile.
  [[nodiscard]] virtual bool retry() { return false; }
  // Whether a closed target may run somewhere, unknown to us: what a daemon before us left on it is to stay.
  enum class Keep : uint8_t { No, Yes };
  virtual void keep_leftovers(Keep /*keep*/) {}
  // Session, mode, sealed ... changed; the attachment stays.
  virtual Result<void> update(uint32_t slot, const TargetSettings& settings) = 0;
  // Detaching what is not attached is success.
  virtual Result<void> detach(uint32_t slot) = 0;
  // Flows not captured so far, by reason.
  virtual std::map<std::string, uint64_t> uncaptured(uint32_t slot) = 0;
};

// One line of `tapdeck targets`.
struct TargetStatus {
  enum class State {
    Attached,
    Waiting,  // not there now; attached again when it comes back
    Failed,   // will not come back by itself: its pid ended
  };
  uint32_t id = 0;  // what attach printed; the slot of metrics and identities
  TargetSettings settings;
  State state = State::Waiting;
  std::string detail;    // why it waits or failed, or is attached and answers nothing, or what else is to be known
  bool passes = false;   // it is there and runs, and could not be attached: what it does passes us by
  std::string display;   // "container web (podman)"
  std::string captured;  // cgroup path, or "interface NAME"
  int64_t attached_at_ms = 0;              // Unix time; 0 while not attached
  std::string trust;                       // "3 stores in 1 file system view", or what else a client needs, for people
  std::vector<std::string> trust_skipped;  // stores left uncovered, "path: why"
  uint64_t gaps = 0;                       // times it ran uncaptured: before it was attached, or somebody undid that
  std::chrono::milliseconds gap_total{0};  // how long, as far as its process or cgroup tells
  std::map<std::string, uint64_t> uncaptured;
};
[[nodiscard]] std::string_view to_string(TargetStatus::State state);

class TargetRegistry {
 public:
  struct Options {
    std::filesystem::path file;  // state_dir/targets.json
    ResolveOptions resolve;
    TrustBinder bind_trust;  // empty: trust is not our business (tests, or no privilege)
    // First and longest pause between looks for a target that is not there; a new directory beside the place of its
    // last cgroup is looked at immediately. Container runtimes take a tenth of a second of a core to answer: they are
    // asked ever less often, and at once when a container's cgroup is made.
    std::chrono::milliseconds first_look{50};
    std::chrono::milliseconds longest_look{2000};
    std::chrono::milliseconds longest_container_look{30000};
    // Touched while we run: its time says until when a daemon before us did. Empty: that is not known.
    std::filesystem::path alive_file;
    // What a daemon before us left refuses its closed targets still.
    bool predecessor_refuses = false;
    // Each time a target ran uncaptured, and how long.
    std::function<void(const TargetSettings&, std::chrono::milliseconds)> on_gap;
    uint32_t first_slot = 1;  // 0 is the daemon's own default
    uint32_t last_slot = config::kMostTargets;
  };

  // Reads the list. A file that does not decode is renamed to *.bad and named in last_error(); the registry is empty
  // then. Errors: Permission, Io. The backend must outlive the registry.
  [[nodiscard]] static Result<std::unique_ptr<TargetRegistry>> open(Options options, TargetBackend& backend);
  TargetRegistry(const TargetRegistry&) = delete;
  TargetRegistry& operator=(const TargetRegistry&) = delete;
  // stop()s and undoes trust. What stays attached is the backend's to decide.
  ~TargetRegistry();

  // Enters what the configuration names, or updates the target with the same spec; attaches every target that is there
  // now, and begins to watch. Those that are not there, or that another target has, wait. Errors are of the
  // configuration, what does not pass by itself: InvalidArgument, Unsupported; Exhausted when all slots are taken.
  // Where the list cannot be written, the log says so.
  Result<void> start(const std::vector<TargetSettings>& configured = {});
  void stop();

  // Attaches, or updates the target with the same spec. An error (see resolve_target, and what the backend says;
  // AlreadyExists: its cgroup is another target's) leaves the list as it was. Exhausted when all slots are taken,
  // Cancelled after stop(). Where only the list cannot be written, it is attached all the same, and the error says so.
  [[nodiscard]] Result<TargetStatus> attach(TargetSettings settings);
  // `target`: id ("3"), spec ("container:web"), or title or name when only one target has it. NotFound names the
  // nearest, InvalidArgument says which ids a name fits. Where only the list cannot be written, it is detached, as what
  // update() changes is changed, and the error says so.
  Result<void> detach(const std::string& target);
  // `change` may alter everything but spec.
  [[nodiscard]] Result<TargetStatus> update(const std::string& target,
                                            const std::function<void(TargetSettings&)>& change);
  [[nodiscard]] Result<TargetStatus> find(const std::string& target);
  [[nodiscard]] std::vector<TargetStatus> list();

  // The capture layer saw the cgroup of `slot` go, or come back, or there is something to retry(): looks at once. Never
  // blocks.
  void look_soon(uint32_t slot);
  // What the backend says of is_closed() is another now.
  void defaults_changed();
  // A closed target that is there, or may be, and is not captured, and why; or one whose connections are all refused
  // because they cannot be captured. Empty: there is none. Never blocks.
  [[nodiscard]] std::string uncaptured_problem();
  // What went wrong last with the list itself (it did not decode, disk full); empty when nothing did.
  [[nodiscard]] std::string last_error();

 private:
  struct Entry;
  TargetRegistry(Options options, TargetBackend& backend, UniqueFd wake, UniqueFd stop, UniqueFd inotify);

  // All of these with work_mutex_ held.
  Result<void> save();
  [[nodiscard]] Result<void> save_after(std::string_view done);
  Result<std::vector<uint32_t>> enter(const std::vector<TargetSettings>& configured);
  Result<void> reattach(Entry& entry, const TargetSettings& settings, const ResolvedTarget& resolved);
  [[nodiscard]] Result<Entry*> add(const TargetSettings& settings);
  [[nodiscard]] TargetList kept() const;
  [[nodiscard]] std::string cgroup_mount() const;  // empty: there is none
  Result<Entry*> entry_of(const std::string& target);
  Result<void> attach_entry(Entry& entry, const ResolvedTarget& resolved, TargetBackend::Why why);
  [[nodiscard]] Result<void> check_alone(const Entry& entry, const ResolvedTarget& resolved) const;
  static void follow_process(Entry& entry);
  [[nodiscard]] bool is_captured_first(const Entry& entry);
  void attach_where_it_was(Entry& entry);
  [[nodiscard]] bool may_be_captured(const Entry& entry);
  void take_answer(Entry& entry, const Result<ResolvedTarget>& found);
  void confirm(Entry& entry, const Result<ResolvedTarget>& found);
  [[nodiscard]] bool is_of_another(const Entry& entry, Code answer) const;
  enum class IsThere : uint8_t { No, Yes };
  void let_go(Entry& entry, IsThere there, const Error& why);
  void ask_soon(Entry& entry);
  void ask_later(Entry& entry);
  [[nodiscard]] bool needs_resolving(Entry& entry);
  void look_at_trouble(Entry& entry);
  void take_up(Entry& entry, const Result<ResolvedTarget>& resolved);
  void try_later(Entry& entry, IsThere there, const Error& why);
  void wait_on(Entry& entry, const Error& why);
  void tell_uncaptured();
  [[nodiscard]] std::string trouble_of_closed();
  void lose(Entry& entry, const Error& why);
  void end(Entry& entry);
  Result<void> bind_trust(Entry& entry);
  void count_gap_of(Entry& entry);
  void count_gap(Entry& entry, std::chrono::milliseconds length);
  void count_missed(Entry& entry, const std::string& container);
  void watch_parent(Entry& entry);
  void notice(const MadeCgroups& made);
  void touch_alive_file();
  void watch_container_places();
  TargetStatus status_of(const Entry& entry);

  // Without it.
  [[nodiscard]] Result<void> keep_entered(const std::vector<uint32_t>& ids);
  void wake_all();
  [[nodiscard]] bool is_stopping();
  void look_at(uint32_t id);
  void watch();
  void wait_for_event();
  void ask_about_containers();
  void ask_about_units();
  void ask(TargetKind kind);

  const Options options_;
  TargetBackend& backend_;
  UniqueFd wake_;     // eventfd: stop, look_soon
  UniqueFd stop_;     // eventfd, readable for good once stop() was called
  UniqueFd inotify_;  // parents of cgroups
  ContainerLookup lookup_;
  std::vector<std::string> container_places_;  // directories that runtimes make their cgroups in
  std::mutex work_mutex_;
  std::map<std::string, std::chrono::steady_clock::time_point> made_;  // containers' cgroups, lately, by their id
  std::condition_variable asks_;           // there may be something to ask; with work_mutex_
  trust::SharedBindings shared_bindings_;  // outlives the shares of the entries
  std::map<uint32_t, std::unique_ptr<Entry>> entries_;
  std::string saved_;  // what the file of the list says
  std::string last_error_;
  std::mutex small_mutex_;  // the three below; never held while blocking
  std::vector<uint32_t> soon_;
  std::string uncaptured_problem_;
  bool stopping_ = false;
  bool backend_waits_ = false;  // retry() is to be called again; the watching thread's alone
  std::thread watcher_;
  std::thread container_asker_;
  std::thread unit_asker_;
};

}  // namespace tapdeck::app

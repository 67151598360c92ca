// TargetRegistry: the targets of a daemon, kept over its restarts and theirs until `detach`.
//
// It owns the list (targets.json in the state directory, replaced atomically and fsynced), finds each target, has the
// capture layer attach it, binds trust, and does so again when a container or unit comes back with another cgroup.
// It does not capture: TargetBackend does. Thread: every public call from any thread; one thread of its own watches.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/app/target_resolve.h"
#include "daemon/base/result.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {

enum class OnLease { Open, Closed };

// What a person asked for; this is what is kept.
struct TargetSettings {
  TargetSpec spec;
  std::string session = "default";
  std::string mode = "record";  // record, replay, hybrid, passthrough
  bool sealed = false;
  bool strict = false;
  OnLease on_lease = OnLease::Open;
};

// The capture layer, as the registry sees it. Calls come from one thread at a time.
class TargetBackend {
 public:
  virtual ~TargetBackend() = default;
  // Attaches programs for `slot` to resolved.cgroup_path or resolved.interface. Attaching a slot again replaces it.
  virtual Result<void> attach(uint32_t slot, const TargetSettings& settings, const ResolvedTarget& resolved) = 0;
  // Session, mode, sealed ... of an attached slot changed; the attachment stays.
  virtual Result<void> update(uint32_t slot, const TargetSettings& settings) = 0;
  // The target is gone for now or for good. Detaching what is not attached is success.
  virtual Result<void> detach(uint32_t slot) = 0;
  // Flows not captured so far, by reason.
  virtual std::map<std::string, uint64_t> uncaptured(uint32_t slot) = 0;
};

// Binds trust for the process; tests replace it. Empty function: no trust is bound.
using TrustBinder = std::function<Result<std::unique_ptr<trust::Binding>>(int pid)>;

// One line of `tapdeck targets`.
struct TargetStatus {
  uint32_t id = 0;  // what attach printed; also the slot
  TargetSettings settings;
  enum class State { Attached, Waiting, Failed } state = State::Waiting;
  std::string detail;       // why it waits or failed; empty when attached
  std::string display;      // "container web (podman)"
  std::string captured;     // cgroup path or interface
  int64_t attached_at_ms = 0;  // Unix time; 0 while not attached
  std::string trust;        // "7 stores", "none: ...", for people
  std::vector<std::string> trust_skipped;
  uint64_t gaps = 0;  // how often it ran, or may have run, without capture
  std::chrono::milliseconds gap_total{0};
  std::map<std::string, uint64_t> uncaptured;
};

[[nodiscard]] std::string_view to_string(TargetStatus::State state);

class TargetRegistry {
 public:
  struct Options {
    std::filesystem::path state_dir;
    ResolveOptions resolve;
    TrustBinder bind_trust;
    std::chrono::milliseconds poll{200};  // how often waiting targets are looked for and attached ones checked
    uint32_t max_targets = 4096;          // slots are 1..max_targets; 0 stays the daemon's default
  };

  // Reads the list. Corrupt (file kept beside as targets.json.bad, registry empty) is an error only in last_error().
  // The backend must outlive the registry.
  [[nodiscard]] static Result<std::unique_ptr<TargetRegistry>> open(Options options, TargetBackend& backend);
  TargetRegistry(const TargetRegistry&) = delete;
  TargetRegistry& operator=(const TargetRegistry&) = delete;
  // stop()s. Attachments are the backend's to end; trust bindings are undone.
  ~TargetRegistry();

  // Attaches every kept target that is there now and starts watching. Those that are not there wait.
  void start();
  void stop();

  // Attaches, or updates the target with the same spec. Keeps it only if it resolved now: a name that does not exist
  // is an error, not a wish. Returns the status it has then.
  [[nodiscard]] Result<TargetStatus> attach(TargetSettings settings);
  // By id ("3") or by spec ("container:web") or by bare name when only one target has it. NotFound names the nearest.
  Result<void> detach(const std::string& target);
  // Changes what is kept and tells the backend.
  [[nodiscard]] Result<TargetStatus> update(const std::string& target,
                                            const std::function<void(TargetSettings&)>& change);
  [[nodiscard]] std::vector<TargetStatus> list();
  [[nodiscard]] std::optional<TargetStatus> find(uint32_t id);

  // The capture layer saw the cgroup of `slot` disappear: looks for it again at once. Any thread; never blocks.
  void on_gone(uint32_t slot);
  // What went wrong last with the list itself (unreadable file, disk full); empty when nothing did.
  [[nodiscard]] std::string last_error();

 private:
  struct Entry;
  TargetRegistry(Options options, TargetBackend& backend);

  Result<void> load();
  Result<void> save_locked();
  Result<Entry*> find_locked(const std::string& target);
  void watch();
  void look_after(uint32_t slot);
  Result<void> attach_now(Entry& entry, const ResolvedTarget& resolved);
  void lose(Entry& entry, const std::string& why);
  void bind_trust(Entry& entry);
  TargetStatus status_of(const Entry& entry);

  Options options_;
  TargetBackend& backend_;
  std::mutex work_mutex_;  // one attach, detach or look at a time; taken before mutex_
  std::mutex mutex_;       // entries_, errors; never held while blocking
  std::condition_variable wake_;
  std::map<uint32_t, std::unique_ptr<Entry>> entries_;
  std::vector<uint32_t> gone_;
  std::string last_error_;
  bool stopping_ = false;
  std::thread watcher_;
};

}  // namespace tapdeck::app

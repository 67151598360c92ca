// `tapdeck run -- CMD`: captures, serves and stores in this process for one command, then ends as the command ended.
//
// It is the order of things (cgroup, capture, trust, command, drain, summary, clean-up), not the things themselves:
// what captures, serves and stores is behind RunServices. Thread: the main one, and before any other exists, because
// signals are blocked for all that follow.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/app/run_summary.h"
#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::app {

class RunNamespace;

struct RunOptions {
  std::vector<std::string> argv;  // the command
  std::string session = "default";
  Mode mode = Mode::Record;
  bool sealed = false;
  bool append = false;                 // extend the last take instead of opening one
  std::optional<int> fail_on_miss;     // end with this status (0..255) when anything was missed or refused
  std::filesystem::path summary_file;  // empty: none; "-": standard output
  std::filesystem::path state_dir;     // empty: the configuration's or the user's default
  std::filesystem::path config_file;   // empty: the default file when it exists
  std::vector<std::filesystem::path> upstream_ca;
  std::string replay_refused;    // "answer", "refuse"; empty: the configuration's
  std::string capture = "auto";  // "auto", "cgroup", "netns"
};

// What serves a run. Made after signals are blocked and before the command exists; dies after it.
class RunServices {
 public:
  virtual ~RunServices() = default;
  [[nodiscard]] virtual std::string ca_pem() const = 0;
  // World-searchable directory for the trust files of this run, ours to make subdirectories in.
  [[nodiscard]] virtual std::filesystem::path run_dir() const = 0;
  // Captures every socket made in this cgroup from now on.
  virtual Result<void> attach(const std::string& cgroup_path) = 0;
  // Serves what connects in these namespaces, and answers for names there.
  virtual Result<void> attach(RunNamespace& made) = 0;
  // Somebody has told the command, or is about to tell it, to end.
  virtual void interrupt() {}
  // The command is gone: lets open exchanges and queued recordings finish, at most until the deadline.
  virtual void drain(std::chrono::milliseconds deadline) = 0;
  // After drain(), last: what served may be closed by then. `exit` is filled in by run_command.
  [[nodiscard]] virtual RunSummary summary() = 0;
};
using RunServicesFactory = std::function<Result<std::unique_ptr<RunServices>>(const RunOptions&)>;

// /var/lib/tapdeck as root; else $XDG_DATA_HOME/tapdeck, or ~/.local/share/tapdeck; empty without HOME.
[[nodiscard]] std::filesystem::path default_state_dir();

// Store, CA, capture and workers for a run, of whose `capture` is "cgroup" or "netns". Errors are complete sentences
// for a person: replay of an unknown session names the nearest, a missing privilege what it is for. Defined where the
// parts are put together (engine).
[[nodiscard]] Result<std::unique_ptr<RunServices>> make_run_services(const RunOptions& options);

// Returns the exit status of tapdeck (125, 126, 127, the command's, or fail_on_miss), or dies of the command's signal.
// Complaints and the summary line go to stderr; stdout belongs to the command, but for a summary that is asked for
// there.
[[nodiscard]] int run_command(const RunOptions& options);
// The same with services of the caller's making.
[[nodiscard]] int run_with(RunOptions options, const RunServicesFactory& make_services);

}  // namespace tapdeck::app

#include "daemon/app/run_command.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "daemon/app/child.h"
#include "daemon/app/inherited_sockets.h"
#include "daemon/app/leftovers.h"
#include "daemon/app/next_step.h"
#include "daemon/app/printable.h"
#include "daemon/app/run_place.h"
#include "daemon/base/processes.h"
#include "daemon/trust/bind.h"
#include "daemon/trust/env.h"

namespace tapdeck::app {
namespace {

// Exchanges of a command that has ended have nobody to answer, and end at once; what takes time is the last recordings'
// way to disk, and what the command had sent to a slow origin.
constexpr std::chrono::milliseconds kDrain{5000};

void say(const std::string& text) {
  std::fprintf(stderr, "tapdeck: %s\n", printable_lines(text).c_str());
}

Result<void> check(const RunOptions& options) {
  if (options.argv.empty()) return fail(Code::InvalidArgument, "run: no command; write it after --");
  if (options.capture != "auto" && options.capture != "cgroup" && options.capture != "netns") {
    return fail(Code::InvalidArgument, "run: --capture is auto, cgroup or netns, not '" + options.capture + "'");
  }
  if (options.fail_on_miss && (*options.fail_on_miss < 1 || *options.fail_on_miss > 255)) {
    return fail(Code::InvalidArgument, "run: --fail-on-miss takes an exit status of 1 to 255");
  }
  return {};
}

// What the command is handed open is not ours to capture: a seal that leaks is refused, everybody else is told.
Result<void> check_inherited(const RunOptions& options) {
  for (const InheritedSocket& socket : inherited_sockets()) {
    if (options.sealed) {
      return fail(Code::InvalidArgument, "run: --sealed: " + describe(socket) + ", which no seal reaches; " +
                                             remedy(socket) + ", or run without --sealed");
    }
    say("run: " + describe(socket) + ": what goes through it is not captured; to prevent that, " + remedy(socket));
  }
  return {};
}

// The trust files of this run, readable by whatever user the command becomes; gone with the object. Held
// meanwhile: a run in another process namespace cannot tell by our pid that we live.
class TrustDirectory {
 public:
  explicit TrustDirectory(const std::filesystem::path& run_dir)
      : path_(run_dir / (std::string(kRunTrustPrefix) + std::to_string(::getpid()))) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    std::filesystem::permissions(path_, std::filesystem::perms{0755}, error);  // whatever the umask is
    lock_ = hold(path_);
  }
  ~TrustDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TrustDirectory(const TrustDirectory&) = delete;
  TrustDirectory& operator=(const TrustDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  UniqueFd lock_;
};

std::vector<std::string> our_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

// The whole of /home and /opt would cost each run of a `make -j` a second; variables reach what lies elsewhere.
std::vector<std::string> python_roots() {
  std::vector<std::string> roots = {"/usr/lib/python*", "/usr/local/lib/python*"};
  std::error_code error;
  const std::string here = std::filesystem::current_path(error).string();
  if (!error) {
    roots.push_back(here + "/.venv");
    roots.push_back(here + "/venv");
  }
  if (const char* venv = std::getenv("VIRTUAL_ENV"); venv != nullptr && venv[0] == '/') roots.emplace_back(venv);
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
    roots.push_back(std::string(home) + "/.local/lib");
  }
  return roots;
}

// In a mount namespace of its own when we may give it one; else the environment has to do.
Result<std::unique_ptr<Child>> start_child(const RunOptions& options, const RunPlace& place,
                                           const std::vector<std::string>& environment, const SignalRelay& relay) {
  ChildOptions child;
  child.argv = options.argv;
  child.environment = environment;
  child.mounts = MountNamespace::Own;
  place.place(child);
  auto started = Child::start(child, relay);
  if (started || started.error().code != Code::Permission) return started;
  child.mounts = MountNamespace::Shared;
  auto shared = Child::start(child, relay);
  if (shared) say("no mount namespace for the command; it learns of our CA by environment variables alone");
  return shared;
}

std::unique_ptr<trust::Binding> bind_trust(const Child& child, const trust::CaCertificate& ca,
                                           const std::filesystem::path& run_dir) {
  const Result<bool> shared = trust::shares_host_mounts(child.pid());
  if (!shared || *shared) return nullptr;
  trust::BindOptions options;
  options.run_dir = run_dir;
  options.ca = ca;
  options.scan.python_roots = python_roots();
  auto binding = trust::bind_into(child.pid(), options);
  if (!binding) {
    say("trust stores are not covered, environment variables have to do: " + binding.error().message());
    return nullptr;
  }
  for (const std::string& skipped : (*binding)->report().skipped) say("trust store left as it is: " + skipped);
  return std::move(*binding);
}

// A hang-up does where the terminal has gone; from a process it may ask for a configuration to be read again.
bool ends_a_command(const siginfo_t& signal) {
  const int number = signal.si_signo;
  if (number == SIGHUP) return signal.si_code == SI_KERNEL;
  return number == SIGINT || number == SIGTERM || number == SIGQUIT;
}

struct Ended {
  ExitStatus status;
  bool is_unwatched = false;
  std::string problem = {};  // why the command did not begin; empty: it did
};

// From a running set of services to the end of the command and of what it left behind.
Result<Ended> run_child(const RunOptions& options, RunServices& services, const SignalRelay& relay, RunPlace& place) {
  TRY_VOID(place.attach(services));
  TRY(ca, trust::parse_ca(services.ca_pem()));
  ignore(trust::clean_leftovers(services.run_dir()), "of runs that were killed; they are in nobody's way");
  const TrustDirectory directory(services.run_dir());
  TRY(environment, trust::trust_environment(our_environment(), ca, directory.path()));
  TRY(child, start_child(options, place, environment, relay));
  const std::unique_ptr<trust::Binding> binding = bind_trust(*child, ca, services.run_dir());
  if (const Result<void> released = child->release(); !released) {
    if (binding) binding->abandon();
    return Ended{{ExitStatus::Kind::Exited, exit_code_for(released.error())}, false, released.error().message()};
  }
  const ExitStatus status = child->wait(relay, [&services](const siginfo_t& signal) {
    if (ends_a_command(signal)) services.interrupt();
  });
  if (const size_t left = place.end_leftovers(); left > 0) {
    say(std::to_string(left) + (left == 1 ? " process" : " processes") + " outlived the command and had to be ended");
  }
  const bool is_unwatched = place.is_unwatched();
  place.end_watch();
  // Its mounts went with the last process that saw them.
  if (binding) binding->abandon();
  services.drain(kDrain);
  return Ended{status, is_unwatched};
}

// Something was asked for that the tape had not, or has not now: who refused our certificate did not get to ask.
bool is_incomplete(const RunOptions& options, const RunSummary& summary) {
  // Sealed, whatever was not captured was refused, be it listed or only counted; but a process that left the cgroup
  // (left_cgroup) did what it wanted, which is worse.
  const bool refused = !summary.refused.empty() || (options.sealed && uncaptured_flows(summary) > 0);
  const bool lost = summary.lost > 0 || summary.names_lost > 0;
  return summary.missed > 0 || lost || summary.ca_rejected > 0 || summary.tls_failed > 0 || refused;
}

int status_with(const RunOptions& options, bool is_overruled, const ExitStatus& status) {
  if (is_overruled) return *options.fail_on_miss;
  return status.kind == ExitStatus::Kind::Exited ? status.value : 128 + status.value;
}

}  // namespace

std::filesystem::path default_state_dir() {
  if (::geteuid() == 0) return "/var/lib/tapdeck";
  const auto absolute = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  if (const auto data = absolute("XDG_DATA_HOME"); !data.empty()) return data / "tapdeck";
  const auto home = absolute("HOME");
  return home.empty() ? home : home / ".local/share/tapdeck";
}

int run_with(RunOptions options, const RunServicesFactory& make_services) {
  const auto summary_file = SummaryFile::open(options.summary_file);
  if (!summary_file) {
    say("run: --summary: " + summary_file.error().message());
    return kExitOurFailure;
  }
  // A run that fails leaves a summary, too: else that of the run before would be taken for its own.
  const auto end_with = [&](int status, const std::string& problem) {
    say(problem);
    RunSummary summary;
    summary.session = options.session;
    summary.mode = options.mode;
    summary.exit = status;
    summary.error = problem;
    if (const Result<void> written = summary_file->write(summary_json(summary)); !written)
      say("run: --summary: " + written.error().message());
    return status;
  };
  if (const Result<void> good = check(options); !good) return end_with(kExitOurFailure, good.error().message());
  if (const Result<void> good = check_inherited(options); !good)
    return end_with(kExitOurFailure, good.error().message());
  ExitStatus status;
  {
    const SignalRelay relay;
    ::signal(SIGPIPE, SIG_IGN);  // of ours: nobody may read what we say at the end
    auto chosen = choose_place(options);
    if (!chosen) return end_with(kExitOurFailure, "run: " + with_next_step(chosen.error()));
    if (!chosen->why.empty()) {
      say("run: captured in a network namespace of its own (--capture netns), as by cgroup it cannot be: " +
          chosen->why);
    }
    auto services = make_services(options);
    if (!services) return end_with(kExitOurFailure, with_next_step(services.error()));
    const Result<Ended> ended = run_child(options, **services, relay, *chosen->place);
    if (!ended) return end_with(kExitOurFailure, "run: " + with_next_step(ended.error()));
    if (!ended->problem.empty()) return end_with(ended->status.value, ended->problem);
    status = ended->status;
    RunSummary summary = (*services)->summary();
    // Sealed, nobody knows what was refused then.
    const bool is_unwatched = ended->is_unwatched || chosen->place->is_unwatched();
    if (is_unwatched) say("somebody ended the guard of this run: nothing watched over the command then");
    const bool is_overruled =
        options.fail_on_miss && (is_incomplete(options, summary) || (options.sealed && is_unwatched));
    summary.exit = status_with(options, is_overruled, status);
    const std::string told = summary_line(summary) + "\n" + also_line(summary) + other_session_line(summary) +
                             miss_lines(summary) + refusal_lines(summary) + departure_line(summary);
    std::fputs(printable_lines(told).c_str(), stderr);
    if (const Result<void> written = summary_file->write(summary_json(summary)); !written) {
      say("run: --summary: " + written.error().message());
      if (status.kind == ExitStatus::Kind::Exited && status.value == 0)
        return kExitOurFailure;  // its failure is news too
    }
    if (is_overruled) status = ExitStatus{ExitStatus::Kind::Exited, summary.exit};
  }
  // Only now, when stores are closed and nothing of the run is left, do we die as the command did.
  return end_like(status);
}

}  // namespace tapdeck::app

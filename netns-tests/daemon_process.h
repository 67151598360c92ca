// DaemonProcess: build/tapdeck serve, started in the lab's gw with a state and run directory of its own; and its
// command line and admin API as a test uses them. Only the outside contract is used: flags, config keys, HTTP, JSON,
// metrics. Thread: one.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "netns-tests/process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

// Path of the binary under test: TAPDECK_BIN or the build's own.
[[nodiscard]] std::filesystem::path tapdeck_binary();

// A copy in `place` that any user may run: the tree itself may lie in a home that is closed to others.
[[nodiscard]] std::filesystem::path tapdeck_for_anyone(const TempDir& place);

struct HttpReply {
  int status = 0;  // 0: no answer
  std::string body;
};
// One HTTP/1.1 request over a unix socket.
[[nodiscard]] HttpReply unix_http(const std::filesystem::path& socket, const std::string& method,
                                  const std::string& target, const std::string& body = "");

struct DaemonOptions {
  std::string mode = "record";
  std::map<std::string, std::string> sections = {};  // "limits" -> "header_timeout = \"1s\"\n": more TOML
  std::map<std::string, std::string> env = {};
  std::string routes = {};  // whole [[routes]] tables
};

class DaemonProcess {
 public:
  // Writes the config, starts the daemon and waits until /readyz says 200. LabError with its log when it does not.
  explicit DaemonProcess(Topology& lab, DaemonOptions options = {});
  ~DaemonProcess();

  // Starts it again after it ended, over the same state.
  void start();
  // SIGTERM; the exit status, LabError when it does not end in time. An orderly end is 0.
  int stop(std::chrono::milliseconds deadline = std::chrono::seconds(20));
  void kill();  // SIGKILL and wait
  void signal(int number) { process_->signal(number); }
  [[nodiscard]] bool running() { return process_ && process_->running(); }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }

  // `tapdeck ARGS --config F` in gw. must_cli: LabError unless its status is 0; returns what it printed.
  Output cli(std::vector<std::string> arguments) const;
  std::string must_cli(std::vector<std::string> arguments) const;
  // Attaches and returns the target id that attach printed.
  std::string attach_cgroup(const Cgroup& cgroup, std::vector<std::string> more = {}) const;
  std::string attach_interface(const std::string& interface, std::vector<std::string> more = {}) const;

  [[nodiscard]] HttpReply get(const std::string& target) const { return unix_http(socket(), "GET", target); }
  // Sum of the series whose line starts with `name` and contains every one of `labels`; 0 when there is none.
  [[nodiscard]] double metric(const std::string& name, const std::vector<std::string>& labels = {}) const;

  [[nodiscard]] std::filesystem::path socket() const { return directory_ / "run" / "admin.sock"; }
  [[nodiscard]] std::filesystem::path state() const { return directory_ / "state"; }
  [[nodiscard]] std::filesystem::path config() const { return directory_ / "tapdeck.toml"; }
  // tapdeck's CA and the lab's in one file: what a client that trusts this install trusts.
  [[nodiscard]] std::filesystem::path client_ca() const { return directory_ / "client-ca.pem"; }
  [[nodiscard]] std::string log() const { return earlier_log_ + (process_ ? process_->out() + process_->err() : ""); }

 private:
  void write_config(const DaemonOptions& options) const;

  Topology& lab_;
  std::filesystem::path directory_;
  std::map<std::string, std::string> env_;
  std::unique_ptr<Process> process_;
  std::string earlier_log_;
};

}  // namespace tapdeck::lab

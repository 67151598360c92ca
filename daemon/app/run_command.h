// `tapdeck run -- CMD`: captures, serves and stores in this process for one command, then ends as the command ended.
//
// It is the order of things (cgroup, app, trust, command, drain, summary, clean-up), not the things themselves.
// Thread: the main one; it must be called before any other thread exists, because signals are blocked for all.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tapdeck::app {

struct RunOptions {
  std::vector<std::string> argv;  // the command
  std::string session = "default";
  std::string mode = "record";
  bool sealed = false;
  bool append = false;                     // extend the last take instead of opening one
  std::optional<int> fail_on_miss;         // exit with this status when anything was missed or refused
  std::filesystem::path summary_file;      // empty: none
  std::filesystem::path state_dir;         // empty: default_state_dir()
  std::filesystem::path config_file;       // empty: the default file when it exists
  std::vector<std::filesystem::path> upstream_ca;
  std::string capture = "auto";            // auto, cgroup, netns
};

// ~/.local/share/tapdeck (XDG_DATA_HOME is honoured), or /var/lib/tapdeck as root.
[[nodiscard]] std::filesystem::path default_state_dir();

// Returns the exit status of tapdeck (125, 126, 127, the command's, or fail_on_miss), or dies of the command's signal.
[[nodiscard]] int run_command(const RunOptions& options);

}  // namespace tapdeck::app

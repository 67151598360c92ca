// Where a state directory and a running daemon keep what. One place, so that run, serve and the listing commands agree.
// Values only; nothing is created here but by make_directories. Thread: any.
#pragma once

#include <filesystem>

#include "daemon/base/result.h"
#include "daemon/config/config.h"

namespace tapdeck::app {

struct Paths {
  std::filesystem::path state_dir;     // 0700
  std::filesystem::path store;         // state_dir/store
  std::filesystem::path ca_cert;       // tls.ca_cert or state_dir/ca.pem
  std::filesystem::path ca_key;        // tls.ca_key or state_dir/ca-key.pem
  std::filesystem::path targets;       // state_dir/targets.json
  std::filesystem::path mode;          // state_dir/mode.json: what `mode set` gave the daemon
  std::filesystem::path run_dir;       // as root /run/tapdeck, else $XDG_RUNTIME_DIR/tapdeck; state_dir/run where the
                                       // first cannot be written, or the second is not known
  std::filesystem::path capture_dir;   // records of the capture layer: run_dir, but of its own for each `run`
  std::filesystem::path admin_socket;  // admin.socket or run_dir/admin.sock
  std::filesystem::path admin_token;   // admin.token_file or run_dir/admin.token
};

// `state_dir` empty: storage.path, else the user's default. RUNTIME_DIRECTORY of systemd is honoured. All are empty
// where nothing says which (no HOME): check_known().
[[nodiscard]] Paths paths_of(const config::Config& config, const std::filesystem::path& state_dir);

// `wanted` when we may write there, or in the directory above that has yet to get it; else `otherwise`. Makes nothing.
[[nodiscard]] std::filesystem::path writable_or(const std::filesystem::path& wanted,
                                                const std::filesystem::path& otherwise);

// InvalidArgument where paths_of() found no state directory; names the flag.
[[nodiscard]] Result<void> check_known(const Paths& paths);

// Makes state_dir (0700) and run_dir (0755: the socket in it is 0600). Errors name the directory and what
// chooses another.
Result<void> make_directories(const Paths& paths);

// The configuration for a command: `file` when given (must exist), else TAPDECK_CONFIG, else /etc/tapdeck/tapdeck.toml
// when it can be read, else the defaults. NamedFiles::Any is for who does not serve by it: a file that was taken away
// says nothing against a daemon that runs. It compiles no grpc rules.
[[nodiscard]] Result<config::Config> config_for(const std::filesystem::path& file,
                                                config::NamedFiles files = config::NamedFiles::MustExist);

}  // namespace tapdeck::app

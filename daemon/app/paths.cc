#include "daemon/app/paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "daemon/app/grpc_rules.h"
#include "daemon/app/run_command.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;

fs::path or_else(const fs::path& given, const fs::path& otherwise) {
  return given.empty() ? otherwise : given;
}

fs::path run_dir_of(const fs::path& state_dir) {
  if (const char* given = std::getenv("RUNTIME_DIRECTORY"); given != nullptr && *given == '/') {
    const std::string_view list(given);  // systemd separates several by ':'; the first is ours
    return list.substr(0, list.find(':'));
  }
  if (::geteuid() == 0) return writable_or("/run/tapdeck", state_dir / "run");
  if (const char* user = std::getenv("XDG_RUNTIME_DIR"); user != nullptr && *user == '/')
    return fs::path(user) / "tapdeck";
  return state_dir / "run";
}

Result<void> make_directory(const fs::path& path, mode_t mode, const std::string& choice) {
  const auto failed = [&](int error) {
    return fail_errno(error, "make directory " + path.string() + " (choose another with " + choice + ")");
  };
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return failed(error.value());
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return failed(errno);
  if (fs::is_directory(path, error)) return {};
  return fail(Code::Io, path.string() + " is not a directory");
}

}  // namespace

fs::path writable_or(const fs::path& wanted, const fs::path& otherwise) {
  for (fs::path at = wanted;; at = at.parent_path()) {
    if (::faccessat(AT_FDCWD, at.c_str(), W_OK, AT_EACCESS) == 0) return wanted;
    if (errno != ENOENT || at == at.parent_path()) return otherwise;
  }
}

Paths paths_of(const config::Config& config, const fs::path& state_dir) {
  Paths out;
  const char* environment = std::getenv("TAPDECK_STATE_DIR");
  out.state_dir = state_dir;
  if (out.state_dir.empty() && environment != nullptr && *environment != '\0') out.state_dir = environment;
  if (out.state_dir.empty()) out.state_dir = or_else(config.storage.path, default_state_dir());
  std::error_code error;
  if (out.state_dir.empty()) return out;
  if (const auto absolute = fs::absolute(out.state_dir, error); !error) out.state_dir = absolute.lexically_normal();
  out.store = out.state_dir / "store";
  out.ca_cert = or_else(config.tls.ca_cert, out.state_dir / "ca.pem");
  out.ca_key = or_else(config.tls.ca_key, out.state_dir / "ca-key.pem");
  out.targets = out.state_dir / "targets.json";
  out.mode = out.state_dir / "mode.json";
  out.run_dir = run_dir_of(out.state_dir);
  out.admin_socket = or_else(config.admin.socket, out.run_dir / "admin.sock");
  out.admin_token = or_else(config.admin.token_file, out.run_dir / "admin.token");
  return out;
}

Result<void> check_known(const Paths& paths) {
  if (!paths.state_dir.empty()) return {};
  return fail(Code::InvalidArgument,
              "there is no state directory: HOME is not set; name one with --state-dir (or TAPDECK_STATE_DIR, "
              "storage.path)");
}

Result<void> make_directories(const Paths& paths) {
  TRY_VOID(check_known(paths));
  TRY_VOID(make_directory(paths.state_dir, 0700, "--state-dir"));
  return make_directory(paths.run_dir, 0755, "RUNTIME_DIRECTORY=DIR in the environment");
}

namespace {

Result<config::Config> load_config(const fs::path& file, config::NamedFiles files) {
  if (!file.empty()) return config::load(file, files);
  if (const char* environment = std::getenv("TAPDECK_CONFIG"); environment != nullptr && *environment != '\0') {
    return config::load(environment, files);
  }
  if (::access(std::string(config::kDefaultPath).c_str(), R_OK) != 0) return config::Config{};
  return config::load(config::kDefaultPath, files);
}

}  // namespace

Result<config::Config> config_for(const fs::path& file, config::NamedFiles files) {
  TRY(config, load_config(file, files));
  if (files == config::NamedFiles::MustExist) TRY_VOID(compile_grpc_rules(config));
  return config;
}

}  // namespace tapdeck::app

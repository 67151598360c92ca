// CA, configuration and cleaning: what needs neither daemon nor store.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ostream>

#include "daemon/app/commands.h"
#include "daemon/app/host_trust.h"
#include "daemon/app/leftovers.h"
#include "daemon/app/output.h"
#include "daemon/app/paths.h"
#include "daemon/app/printable.h"
#include "daemon/app/unit_job.h"
#include "daemon/base/unique_fd.h"
#include "daemon/config/to_json.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/tls/ca.h"
#include "daemon/tls/client_context.h"

namespace tapdeck::app {
namespace {

int64_t micros(tls::Time time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

struct Ca {
  Paths paths;
  std::unique_ptr<tls::CertificateAuthority> authority;
};

enum class NoCa { Make, Fail };

Result<Ca> open_ca(const Common& common, NoCa if_missing) {
  TRY(config, config_for(common.config_file, config::NamedFiles::Any));
  Ca out{.paths = paths_of(config, common.state_dir), .authority = nullptr};
  TRY_VOID(check_known(out.paths));
  if (if_missing == NoCa::Fail && ::access(out.paths.ca_cert.c_str(), F_OK) != 0 && errno == ENOENT) {
    return fail(Code::NotFound, "there is no CA at " + out.paths.ca_cert.string() + " yet; make it: tapdeck ca init" +
                                    place_flags(common));
  }
  if (if_missing == NoCa::Make) TRY_VOID(make_directories(out.paths));
  TRY(authority, tls::CertificateAuthority::load_or_create(out.paths.ca_cert.string(), out.paths.ca_key.string(),
                                                           {.name_constraints = config.tls.name_constraints}));
  out.authority = std::move(authority);
  return out;
}

// The configuration, with the certificates that `serve` would read at its start. Keys that only root may read are not
// held against the one who checks.
Result<config::Config> checked_config(const Common& common) {
  TRY(config, config_for(common.config_file));
  std::vector<std::string> files;
  for (const auto& file : config.tls.upstream_ca) files.push_back(file.string());
  TRY_VOID(tls::UpstreamTrust::create(tls::SystemRoots::Ignore, files));
  const auto ca = config.tls.ca_cert.empty() ? Result<Ca>() : open_ca(common, NoCa::Fail);
  // Neither is there: they are made at the start. One of them alone is not made whole.
  std::error_code none;
  const bool is_begun =
      std::filesystem::exists(config.tls.ca_cert, none) || std::filesystem::exists(config.tls.ca_key, none);
  const bool is_wrong = !ca && (ca.error().code != Code::NotFound || is_begun) && ca.error().code != Code::Permission;
  if (is_wrong) return std::unexpected(ca.error());
  return config;
}

std::string_view until_it_runs_again(kernel::Aftermath left) {
  switch (left) {
    case kernel::Aftermath::Stands:
      return "fail-closed targets stay refused until it runs again";
    case kernel::Aftermath::Lost:
      return "FAIL-CLOSED TARGETS ARE OPEN until it runs again: what refused them went with the service's mount "
             "namespace, because it could not write to the host's /sys/fs/bpf";
    case kernel::Aftermath::None:
      break;
  }
  return "it left nothing in the kernel: no target is captured or refused until it runs again";
}

int show(const Common& common, const Streams& streams, const Result<Ca>& ca) {
  if (!ca) return print_error(common, streams, ca.error());
  const Json json = {{"certificate", ca->paths.ca_cert.string()},
                     {"key", ca->paths.ca_key.string()},
                     {"sha256", ca->authority->fingerprint()},
                     {"not_before", format_time(micros(ca->authority->not_before()))},
                     {"not_after", format_time(micros(ca->authority->not_after()))}};
  if (common.format == Format::Json) {
    streams.out << dump(json) << '\n';
  } else {
    print_fields(streams, json);
  }
  return 0;
}

}  // namespace

int ca_init(const Common& common, Streams streams) {
  return show(common, streams, open_ca(common, NoCa::Make));
}

int ca_show(const Common& common, Streams streams) {
  return show(common, streams, open_ca(common, NoCa::Fail));
}

int ca_export(const Common& common, const std::filesystem::path& file, Streams streams) {
  const auto ca = open_ca(common, NoCa::Fail);
  if (!ca) return print_error(common, streams, ca.error());
  const std::string& pem = ca->authority->certificate_pem();
  if (file.empty() || file == "-") {
    streams.out << pem;
    return 0;
  }
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (fd.get() < 0 || ::write(fd.get(), pem.data(), pem.size()) != static_cast<ssize_t>(pem.size())) {
    return print_error(common, streams, fail_errno(errno, "write " + file.string()).error());
  }
  streams.err << "wrote the CA certificate to " << file.string() << "; the key stays where it is\n";
  return 0;
}

namespace {

// Neither the trust store nor, for those without a home, the CA is theirs to write.
Error as_root(Error error, const Common& common, HostTrustChange change) {
  if (error.code != Code::Permission || ::geteuid() == 0) return error;
  error.detail = error.message() + "; it takes root: sudo tapdeck ca install" +
                 (change == HostTrustChange::Remove ? " --remove" : "") + place_flags(common);
  error.sys_errno = 0;
  return error;
}

}  // namespace

int ca_install(const Common& common, HostTrustChange change, Streams streams) {
  const bool install = change == HostTrustChange::Install;
  const auto ca = open_ca(common, install ? NoCa::Make : NoCa::Fail);
  if (!ca) return print_error(common, streams, as_root(ca.error(), common, change));
  const std::string& print = ca->authority->fingerprint();
  const auto file = install ? install_in_host(ca->authority->certificate_pem(), print) : remove_from_host(print);
  if (!file) return print_error(common, streams, as_root(file.error(), common, change));
  if (common.format == Format::Json) {
    streams.out << dump({{"done", install ? "installed" : "removed"}, {"file", file->string()}}) << '\n';
  } else if (install) {
    streams.out << "installed " << file->string() << "; clients of this host's trust store accept tapdeck now\n"
                << "Java, NSS and Firefox have stores of their own. To undo: tapdeck ca install --remove\n";
  } else {
    streams.out << "removed " << file->string() << '\n';
  }
  return 0;
}

int config_check(const Common& common, Streams streams) {
  const auto config = checked_config(common);
  if (!config) {
    if (common.format == Format::Json) return print_error(common, streams, config.error());
    streams.err << printable_lines(config.error().message()) << '\n';  // begins with file:line:column, as compilers do
    return 1;
  }
  const std::string name = config->source.empty() ? "no file: the defaults" : config->source.string();
  if (common.format == Format::Json) {
    streams.out << dump({{"ok", true}, {"file", config->source.string()}, {"warnings", config->warnings}}) << '\n';
  } else {
    for (const std::string& warning : config->warnings) streams.err << printable_lines(warning) << '\n';
    streams.out << name << ": ok\n";
  }
  return 0;
}

int config_show(const Common& common, Streams streams) {
  auto config = config_for(common.config_file, config::NamedFiles::Any);
  if (!config) return print_error(common, streams, config.error());
  // With the defaults that depend on who runs it filled in: what is in force, not what was written.
  const Paths paths = paths_of(*config, common.state_dir);
  config->storage.path = paths.state_dir;
  config->tls.ca_cert = paths.ca_cert;
  config->tls.ca_key = paths.ca_key;
  config->admin.socket = paths.admin_socket;
  config->admin.token_file = paths.admin_token;
  if (common.format == Format::Json) {
    streams.out << dump({{"file", config->source.string()},
                         {"config", Json::parse(config::to_json(*config), nullptr, false)}})
                << '\n';
    return 0;
  }
  streams.out << "# " << (config->source.empty() ? "built-in defaults" : config->source.string()) << '\n'
              << config::to_toml(*config);
  return 0;
}

int clean_leftovers(const Common& common, Streams streams) {
  const auto config = config_for(common.config_file, config::NamedFiles::Any);
  // A broken configuration must not keep programs in the kernel: the run directory does not need it.
  const Paths paths = paths_of(config ? *config : config::Config{}, common.state_dir);
  // After a crash the unit is started again at once, and that start cleans. Until then what must fail closed does.
  const char* result = std::getenv("SERVICE_RESULT");  // set by systemd for ExecStopPost
  if (result != nullptr && std::string_view(result) != "success") {
    streams.err << "tapdeck: the service ended by '" << result << "'; "
                << until_it_runs_again(kernel::aftermath_of_the_dead(paths.run_dir.string())) << '\n';
    return 0;
  }
  const auto aftermath = kernel::aftermath_of_the_dead(paths.run_dir.string());
  if (result != nullptr && aftermath == kernel::Aftermath::Stands && is_being_restarted()) {
    streams.err << "tapdeck: the service is being restarted; " << until_it_runs_again(aftermath) << '\n';
    return 0;
  }
  if (const auto known = check_known(paths); !known) return print_error(common, streams, known.error());
  const auto cleaned = clean_all_leftovers(paths.run_dir);
  if (!cleaned) return print_error(common, streams, cleaned.error());
  if (common.format == Format::Json) {
    streams.out << dump({{"done", "cleaned"},
                         {"directory", paths.run_dir.string()},
                         {"runs", cleaned->runs},
                         {"bindings", cleaned->bindings},
                         {"records", cleaned->records},
                         {"refused", cleaned->refused},
                         {"daemon_lives", cleaned->lives}})
                << '\n';
    return 0;
  }
  streams.out << to_text(*cleaned, paths.run_dir);
  if (::geteuid() != 0) streams.out << " (this user's own; that of the service: sudo tapdeck clean)";
  streams.out << '\n';
  return 0;
}

}  // namespace tapdeck::app

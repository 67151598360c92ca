#include "daemon/trust/env.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>

#include "daemon/base/unique_fd.h"
#include "daemon/base/whole_file.h"
#include "daemon/trust/files.h"
#include "daemon/trust/stores.h"

namespace tapdeck::trust {
namespace {

enum class Effect {
  Replaces,  // the client's roots are the file's, and no others
  Adds,      // the file's roots beside the built-in ones
};
struct Variable {
  std::string_view name;
  Effect effect;
  std::string_view otherwise = {};  // which variable its client reads when this one is not set
};
constexpr std::array<Variable, 12> kVariables = {{{"SSL_CERT_FILE", Effect::Replaces},
                                                  {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Effect::Replaces},
                                                  {"REQUESTS_CA_BUNDLE", Effect::Replaces, "CURL_CA_BUNDLE"},
                                                  {"CURL_CA_BUNDLE", Effect::Replaces, "SSL_CERT_FILE"},
                                                  {"AWS_CA_BUNDLE", Effect::Replaces},
                                                  {"GIT_SSL_CAINFO", Effect::Replaces},
                                                  {"CARGO_HTTP_CAINFO", Effect::Replaces},
                                                  {"PIP_CERT", Effect::Replaces},
                                                  {"NPM_CONFIG_CAFILE", Effect::Replaces, "npm_config_cafile"},
                                                  {"npm_config_cafile", Effect::Replaces, "NPM_CONFIG_CAFILE"},
                                                  {"NODE_EXTRA_CA_CERTS", Effect::Adds},
                                                  {"DENO_CERT", Effect::Adds}}};

// The first entry wins, as getenv would have it.
std::optional<std::string> value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

void set_value(std::vector<std::string>& environment, std::string_view name, const std::string& value) {
  const std::string prefix = std::string(name) + "=";
  bool found = false;
  std::erase_if(environment, [&](std::string& entry) {
    if (!entry.starts_with(prefix)) return false;
    if (found) return true;
    found = true;
    entry = prefix + value;
    return false;
  });
  if (!found) environment.push_back(prefix + value);
}

struct Ours {
  const CaCertificate& ca;
  std::string certificates;  // of bundle.pem
  std::filesystem::path directory;
};

struct Original {
  std::string certificates;
  struct stat status{};
};

// Nothing: a directory (REQUESTS_CA_BUNDLE may name one), unreadable, absurd or without a certificate.
std::optional<Original> read_original(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  Original original;
  if (!fd || ::fstat(fd.get(), &original.status) != 0) return std::nullopt;
  const Result<std::string> text = read_all(fd.get(), kMaxBundleBytes);
  if (!text) return std::nullopt;
  original.certificates = certificates_only(*text);
  if (original.certificates.empty()) return std::nullopt;
  return original;
}

// For whom the original is, at most.
Result<void> write_like(const std::filesystem::path& path, std::string_view text, const struct stat& original) {
  constexpr mode_t kForAll = 0644;
  const mode_t mode = original.st_mode & kForAll;
  if (mode == kForAll) return replace_file(path, text, kForAll, Sync::No);
  TRY_VOID(replace_file(path, text, 0600, Sync::No));
  // Another's, and we are not root: then for us alone, who could read it.
  if (::chown(path.c_str(), original.st_uid, original.st_gid) != 0) return {};
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, "chmod " + path.string());
  return {};
}

// Where the variable must point so that its client trusts us and what the variable named before.
Result<std::filesystem::path> file_for(const Variable& variable, const std::vector<std::string>& environment,
                                       const Ours& ours) {
  const std::filesystem::path usual = ours.directory / (variable.effect == Effect::Adds ? "ca.pem" : "bundle.pem");
  std::optional<std::string> before = value_of(environment, variable.name);
  if (!before && !variable.otherwise.empty()) before = value_of(environment, variable.otherwise);
  // Pointing at our own file already: a run inside a run with the same state directory.
  if (!before || before->empty() || *before == usual.string()) return usual;
  const std::optional<Original> theirs = read_original(*before);
  if (!theirs) return usual;
  const std::string additions[] = {ours.ca.pem};
  TRY(merged, merge_bundles(theirs->certificates, additions));
  if (variable.effect == Effect::Replaces && merged == ours.certificates) return usual;
  // Named after what it holds, so that runs with different settings do not overwrite each other's file.
  const std::string digest = std::to_string(std::hash<std::string>{}(merged));
  std::filesystem::path path = ours.directory / ("bundle-" + std::string(variable.name) + "-" + digest + ".pem");
  TRY_VOID(write_like(path, merged, theirs->status));
  return path;
}

}  // namespace

Result<std::vector<std::string>> trust_environment(const std::vector<std::string>& environment, const CaCertificate& ca,
                                                   const std::filesystem::path& directory) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "create " + directory.string());
  // Only a directory of ours gets its mode set; the command may run as another user.
  if (made && ::chmod(directory.c_str(), 0755) != 0) return fail_errno(errno, "chmod " + directory.string());

  // A host without roots verifies nothing today; with ours alone it verifies what goes through us.
  const std::string host_roots = read_host_roots().value_or(std::string());
  const std::string additions[] = {ca.pem};
  TRY(bundle, merge_bundles(host_roots, additions));
  TRY_VOID(replace_file(directory / "ca.pem", ca.pem, 0644, Sync::No));
  TRY_VOID(replace_file(directory / "bundle.pem", bundle, 0644, Sync::No));

  const Ours ours{ca, certificates_only(bundle), directory};
  std::vector<std::string> out = environment;
  for (const Variable& variable : kVariables) {
    TRY(path, file_for(variable, environment, ours));
    set_value(out, variable.name, path.string());
  }
  return out;
}

}  // namespace tapdeck::trust

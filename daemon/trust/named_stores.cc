#include "daemon/trust/named_stores.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "daemon/trust/files.h"

namespace tapdeck::trust {
namespace {

// The kernel lets arguments and environment have 6 MiB together.
constexpr size_t kMaxEnvironment = 8UL << 20;
constexpr size_t kMaxStatus = 2UL << 20;  // 65536 groups of 11 characters, and a page
constexpr size_t kMaxProcesses = 4096;
constexpr size_t kMaxNames = 64;

// What `run` sets (env.cc), and those whose clients read the usual stores when nothing is set. Some of them may name a
// directory as well.
constexpr std::array<std::string_view, 19> kVariables = {"SSL_CERT_FILE",
                                                         "SSL_CERT_DIR",
                                                         "CURL_CA_BUNDLE",
                                                         "REQUESTS_CA_BUNDLE",
                                                         "NODE_EXTRA_CA_CERTS",
                                                         "AWS_CA_BUNDLE",
                                                         "GIT_SSL_CAINFO",
                                                         "GIT_SSL_CAPATH",
                                                         "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                                                         "CARGO_HTTP_CAINFO",
                                                         "PIP_CERT",
                                                         "NPM_CONFIG_CAFILE",
                                                         "npm_config_cafile",
                                                         "DENO_CERT",
                                                         "NIX_SSL_CERT_FILE",
                                                         "HTTPLIB2_CA_CERTS",
                                                         "PERL_LWP_SSL_CA_FILE",
                                                         "BUNDLE_SSL_CA_CERT",
                                                         "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"};

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

std::vector<NamedStore> named_in_environment(std::string_view environment) {
  std::vector<NamedStore> out;
  while (!environment.empty()) {
    const size_t end = std::min(environment.find('\0'), environment.size());
    const std::string_view entry = environment.substr(0, end);
    environment.remove_prefix(std::min(end + 1, environment.size()));
    const size_t equals = std::min(entry.find('='), entry.size());
    const std::string_view variable = entry.substr(0, equals);
    if (std::ranges::find(kVariables, variable) == kVariables.end()) continue;
    std::string_view value = entry.substr(std::min(equals + 1, entry.size()));
    while (!value.empty()) {
      const size_t colon = variable == "SSL_CERT_DIR" ? std::min(value.find(':'), value.size()) : value.size();
      if (colon > 0) out.push_back({std::string(variable), std::string(value.substr(0, colon)), {}});
      value.remove_prefix(std::min(colon + 1, value.size()));
    }
  }
  return out;
}

Namer namer_of(std::string_view status) {
  constexpr uid_t kOverflow = 65534;
  Namer namer{kOverflow, {}};
  std::istringstream lines{std::string(status)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string key;
    fields >> key;
    if (key == "Uid:") fields >> namer.uid;
    if (key != "Gid:" && key != "Groups:") continue;
    for (gid_t group = 0; fields >> group;) namer.groups.push_back(group);
  }
  return namer;
}

std::vector<NamedStore> named_by_processes(uint64_t namespace_inode, int root_fd) {
  std::vector<NamedStore> out;
  struct stat root{};
  if (::fstat(root_fd, &root) != 0) return out;
  size_t processes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    if (std::isdigit(static_cast<unsigned char>(it->path().filename().c_str()[0])) == 0) continue;
    const std::string process = it->path().string();
    struct stat status{};
    if (::stat((process + "/ns/mnt").c_str(), &status) != 0 || status.st_ino != namespace_inode) continue;
    if (::stat((process + "/root").c_str(), &status) != 0 || !is_same_file(status, root)) continue;
    if (++processes > kMaxProcesses) break;
    std::vector<NamedStore> all =
        named_in_environment(read_whole_file(process + "/environ", kMaxEnvironment).value_or(""));
    if (all.empty()) continue;
    const Namer namer = namer_of(read_whole_file(process + "/status", kMaxStatus).value_or(""));
    for (NamedStore& named : all) {
      named.by = namer;
      const auto same = [&](const NamedStore& other) { return other.path == named.path && other.by.uid == namer.uid; };
      if (out.size() < kMaxNames && std::ranges::none_of(out, same)) out.push_back(std::move(named));
    }
  }
  return out;
}

}  // namespace tapdeck::trust

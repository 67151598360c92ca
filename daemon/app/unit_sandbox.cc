#include "daemon/app/unit_sandbox.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "daemon/base/endpoint.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEdit = "; `systemctl edit tapdeck`: [Service] ";
constexpr uint16_t kFirstFreePort = 1024;  // net.ipv4.ip_unprivileged_port_start, unless somebody lowered it

// ProtectHome=tmpfs and PrivateTmp=.
constexpr std::array<std::string_view, 5> kHidden = {"/home", "/root", "/run/user", "/tmp", "/var/tmp"};

std::optional<std::string_view> hidden_place_of(const std::string& path) {
  const auto found = std::ranges::find_if(kHidden, [&](std::string_view place) {
    return path == place || (path.starts_with(place) && path[place.size()] == '/');
  });
  if (found == kHidden.end()) return std::nullopt;
  return *found;
}

// The first absolute path in the text; "" when there is none.
std::string path_in(const std::string& text) {
  const size_t at = text.starts_with('/') ? 0 : text.find(" /") + 1;
  if (at == 0 && !text.starts_with('/')) return "";
  std::string path = text.substr(at, text.find(' ', at) - at);
  while (path.ends_with(':') || path.ends_with(',') || path.ends_with(';')) path.pop_back();
  return path;
}

bool names_a_low_port(const std::string& text) {
  static constexpr std::string_view kWords = "listen on ";
  const size_t at = text.find(kWords);
  if (at == std::string::npos) return false;
  const size_t begin = at + kWords.size();
  const auto endpoint = Endpoint::parse(text.substr(begin, text.find(' ', begin) - begin));
  return endpoint && endpoint->port < kFirstFreePort;
}

}  // namespace

bool in_unit() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  return socket != nullptr && *socket != '\0';
}

std::string unit_hint(const Error& error, const fs::path& state_dir) {
  const fs::path path = path_in(error.detail);
  if (error.sys_errno == EROFS && !path.empty()) {
    const fs::path place = path == state_dir ? path : path.parent_path();
    return "; the unit lets it write below /var/lib/tapdeck only; make " + place.string() + " and allow it" +
           std::string(kEdit) + "ReadWritePaths=" + place.string();
  }
  if (error.sys_errno == EACCES && names_a_low_port(error.detail)) {
    return "; the unit has no capability for ports below 1024" + std::string(kEdit) +
           "CapabilityBoundingSet=CAP_NET_BIND_SERVICE";
  }
  const auto place = hidden_place_of(path.string());
  if ((error.sys_errno == ENOENT || error.sys_errno == EACCES) && place) {
    return "; the unit does not see the host's " + std::string(*place) +
           "; put the file into /etc/tapdeck, or show it" + std::string(kEdit) + "BindReadOnlyPaths=" + path.string();
  }
  return "";
}

std::string with_unit_hints(const std::string& problems) {
  static constexpr std::string_view kWords = "there is no file ";
  std::string out;
  std::istringstream lines(problems);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find(kWords);
    if (at != std::string::npos) line += unit_hint(fail_errno(ENOENT, line.substr(at)).error(), {});
    out += (out.empty() ? "" : "\n") + line;
  }
  return out;
}

Result<void> check_state_lasts(const fs::path& state_dir, const fs::path& host_root) {
  const auto place = hidden_place_of(state_dir.string());
  if (!place) return {};
  struct stat ours{};
  fs::path deepest = state_dir;
  while (::stat(deepest.c_str(), &ours) != 0 && deepest.has_relative_path()) deepest = deepest.parent_path();
  struct stat hosts{};
  const bool host_has_it = ::stat((host_root.string() + deepest.string()).c_str(), &hosts) == 0;
  if (!host_has_it && errno != ENOENT) return {};  // not to be seen: then nothing is said
  if (host_has_it && ours.st_dev == hosts.st_dev && ours.st_ino == hosts.st_ino) return {};
  return fail(Code::Unsupported, "state directory " + state_dir.string() + ": the unit has a " + std::string(*place) +
                                     " of its own, which goes with the service; choose another storage.path, or make "
                                     "it and show it" +
                                     std::string(kEdit) + "BindPaths=" + state_dir.string());
}

}  // namespace tapdeck::app

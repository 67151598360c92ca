#include "daemon/app/made_cgroups.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "daemon/base/result.h"

namespace tapdeck::app {
namespace {

// systemd and the runtimes without it; the first container makes them, in the mount's root.
constexpr std::array<std::string_view, 5> kPlaces = {"machine.slice", "system.slice", "libpod_parent", "docker",
                                                     "kubepods.slice"};
constexpr size_t kIdLength = 64;

}  // namespace

std::string_view container_id_in(std::string_view name) {
  if (name.starts_with("libpod-conmon-")) return {};  // podman's own process beside the container
  size_t digits = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool is_digit = (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'f');
    digits = is_digit ? digits + 1 : 0;
    if (digits == kIdLength) return name.substr(i + 1 - kIdLength, kIdLength);
  }
  return {};
}

std::vector<std::string> container_places(const std::string& mount) {
  std::vector<std::string> out{mount};
  for (const std::string_view place : kPlaces) out.push_back(mount + "/" + std::string(place));
  return out;
}

void watch_for_cgroups(int inotify_fd, const std::string& directory) {
  ignore(::inotify_add_watch(inotify_fd, directory.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR), "polled anyway");
}

MadeCgroups read_made_cgroups(int inotify_fd) {
  MadeCgroups out;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  for (ssize_t n = 0; (n = ::read(inotify_fd, buffer.data(), buffer.size())) > 0;) {
    for (ssize_t i = 0; i < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(&buffer[static_cast<size_t>(i)]);
      i += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      out.lost |= (event->mask & IN_Q_OVERFLOW) != 0;
      const std::string name(event->len > 0 ? event->name : "");
      out.any |= !name.empty();
      // In a place that is made now the container's cgroup may be already, unseen.
      out.container |= is_container_cgroup(name) || std::ranges::find(kPlaces, name) != kPlaces.end();
      if (!name.empty()) out.names.push_back(name);
    }
  }
  return out;
}

}  // namespace tapdeck::app

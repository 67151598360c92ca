#include "daemon/upstream/own_addresses.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::upstream {

namespace {

// The kernel lets nobody bind a foreign address. Asked only when the port is ours. An address that cannot be asked
// about counts as local, and is refused: forwarding to ourselves would take more of what there is too little of.
bool is_local(const Endpoint& asked) {
  Endpoint endpoint = asked;
  endpoint.port = 0;
  sockaddr_storage raw{};
  const socklen_t size = endpoint.to_sockaddr(raw);
  const UniqueFd fd(::socket(raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) {
    log::peer(log::Level::Warn, "proxy.own_address_unknown",
              "a destination at a port of ours is refused, for whether it is this host could not be found out",
              {{"destination", asked.to_string()}, {"error", std::strerror(errno)}});
    return true;
  }
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), size) == 0;
}

}  // namespace

void OwnAddresses::add_captured(uint64_t listener_id, const Endpoint& listening) {
  const std::scoped_lock lock(mutex_);
  captured_.emplace(listener_id, listening);
}

void OwnAddresses::remove_captured(uint64_t listener_id) {
  const std::scoped_lock lock(mutex_);
  captured_.erase(listener_id);
}

bool OwnAddresses::is_captured(const Endpoint& destination) const {
  if (!destination.is_loopback()) return false;
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(captured_, [&](const auto& listener) { return listener.second == destination; });
}

bool OwnAddresses::is_any_of(const std::vector<Endpoint>& listeners, const Endpoint& destination) {
  for (const Endpoint& listener : listeners) {
    if (listener.port != destination.port) continue;
    if (listener.family == destination.family && listener.address == destination.address) return true;
    if (destination.is_unspecified() && (listener.is_loopback() || listener.is_unspecified())) return true;
    // [::] takes IPv4 too.
    const bool reaches = listener.family == destination.family || listener.family == Endpoint::Family::V6;
    if (reaches && listener.is_unspecified() && is_local(destination)) return true;
  }
  return false;
}

}  // namespace tapdeck::upstream

#include "daemon/kernel/netns_table.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "daemon/kernel/listener_plan.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::kernel {
namespace {

constexpr auto kGrace = std::chrono::seconds(5);
constexpr auto kLookEvery = std::chrono::seconds(1);
constexpr unsigned kUnseenToGo = 2;
// Instances beside each other begin at different ports.
uint32_t port_seed() {
  return static_cast<uint32_t>(::getpid()) * 131U;
}

constexpr __u8 kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

tapdeck_own_key own_key(uint64_t cookie, const Endpoint& address) {
  tapdeck_own_key key{};
  key.netns_cookie = cookie;
  to_mapped(address, key.address);
  key.port = address.port;
  return key;
}

// Runs inside the namespace.
void fill_sources(tapdeck_netns& value) {
  const Endpoint source4 = preferred_source(AF_INET);
  const Endpoint source6 = preferred_source(AF_INET6);
  if (source4.family == Endpoint::Family::V4) std::memcpy(&value.source4_be, source4.address.data(), 4);
  if (source6.family == Endpoint::Family::V6) std::memcpy(value.source6, source6.address.data(), 16);
}

std::unexpected<Error> loopback_is_down() {
  return fail(Code::Unreachable, "loopback is down in the target's network namespace (in there: ip link set lo up)",
              Origin::Kernel);
}

}  // namespace

void to_mapped(const Endpoint& endpoint, __u8 out[16]) {
  if (endpoint.family == Endpoint::Family::V6) {
    std::memcpy(out, endpoint.address.data(), 16);
    return;
  }
  std::memcpy(out, kMappedPrefix, sizeof(kMappedPrefix));
  std::memcpy(out + 12, endpoint.address.data(), 4);
}

Endpoint from_mapped(const __u8 address[16], uint16_t port) {
  Endpoint out;
  out.port = port;
  if (std::memcmp(address, kMappedPrefix, sizeof(kMappedPrefix)) == 0) {
    out.family = Endpoint::Family::V4;
    std::memcpy(out.address.data(), address + 12, 4);
  } else {
    out.family = Endpoint::Family::V6;
    std::memcpy(out.address.data(), address, 16);
  }
  return out;
}

struct NetnsTable::Made {
  uint64_t cookie = 0;
  std::vector<CapturedListener> listeners;
  std::vector<NameDoor> doors;
  tapdeck_netns value{};
};

NetnsTable::~NetnsTable() {
  for (auto& [cookie, ns] : namespaces_) retire(cookie, ns);
}

Result<void> NetnsTable::make_family(Made& made, Endpoint::Family family, unsigned first, unsigned count) const {
  const bool v6 = family == Endpoint::Family::V6;
  const auto ports = candidate_ports(local_port_range(), port_seed());
  size_t next = 0;
  for (unsigned i = first; i < count; ++i) {
    for (size_t tried = 0;; ++tried, ++next) {
      if (tried == ports.size()) return fail(Code::Exhausted, "no free port for a listener", Origin::Kernel);
      const uint16_t port = ports[next % ports.size()];
      const Endpoint address = v6 ? listener_address6(port) : listener_address4(i, port);
      auto fd = make_listener(address, options_.mark, Transparent::No);
      if (!fd && fd.error().code == Code::AlreadyExists) continue;
      if (!fd) return std::unexpected(fd.error());
      if (v6) {
        made.value.port6_be[i] = htons(port);
        ++next;  // ::1 is one address: each listener takes another port
      } else {
        std::memcpy(&made.value.v4[i].address_be, address.address.data(), 4);
        made.value.v4[i].port_be = htons(port);
      }
      made.listeners.push_back({std::move(*fd), address, i % std::max(options_.workers, 1U), {}});
      (v6 ? made.value.count6 : made.value.count4) = i + 1;
      break;
    }
  }
  return {};
}

// Each at a port of its own: sockets tell their resolvers apart by it.
Result<void> NetnsTable::make_doors(Made& made, Endpoint::Family family) const {
  const bool v6 = family == Endpoint::Family::V6;
  unsigned count = 0;
  for (const uint16_t port : candidate_ports(local_port_range(), port_seed())) {
    if (count == TAPDECK_DOORS) return {};
    const Endpoint address = v6 ? listener_address6(port) : listener_address4(count, port);
    auto fd = make_datagram_door(address, options_.mark, Transparent::No);
    if (!fd && fd.error().code == Code::AlreadyExists) continue;
    if (!fd) return std::unexpected(fd.error());
    made.doors.push_back({std::move(*fd), address, 0, 0, kNoTarget});
    if (v6) {
      made.value.door6_port_be[count] = htons(port);
    } else {
      std::memcpy(&made.value.door4[count].address_be, address.address.data(), 4);
      made.value.door4[count].port_be = htons(port);
    }
    ++count;
  }
  return fail(Code::Exhausted, "no free port for questions for names", Origin::Kernel);
}

// Runs inside the namespace.
Result<void> NetnsTable::make_inside(Made& made, uint64_t wanted) const {
  TRY(cookie, netns_cookie());
  if (wanted != 0 && cookie != wanted) return fail(Code::NotFound, "another network namespace", Origin::Kernel);
  made.cookie = cookie;
  if (namespaces_.contains(cookie))
    return fail(Code::AlreadyExists, "two network namespaces of one cookie", Origin::Kernel);
  // A bind does not tell: it succeeds where no interface has any address.
  if (!loopback_is_up()) return loopback_is_down();
  const unsigned count = listeners_wanted(local_port_range(), options_.workers, options_.listeners_max);
  if (auto v4 = make_family(made, Endpoint::Family::V4, 0, count); !v4) {
    if (v4.error().sys_errno == EADDRNOTAVAIL) return loopback_is_down();
    return v4;
  }
  TRY_VOID(make_doors(made, Endpoint::Family::V4));
  return make_v6(made, count);
}

// No ::1 (IPv6 switched off, or not up yet) means that no IPv6 flow needs a listener yet.
Result<void> NetnsTable::make_v6(Made& made, unsigned count) const {
  auto v6 = make_family(made, Endpoint::Family::V6, made.value.count6, count);
  if (v6 && made.value.door6_port_be[0] == 0) v6 = make_doors(made, Endpoint::Family::V6);
  if (!v6 && v6.error().sys_errno != EADDRNOTAVAIL && v6.error().sys_errno != EAFNOSUPPORT) return v6;
  fill_sources(made.value);
  return {};
}

void NetnsTable::complete(uint64_t cookie, Namespace& ns) {
  if (ns.is_complete()) return;
  Made made;
  made.cookie = cookie;
  made.value = ns.value;
  const auto done = NetnsScope::run(ns.fd.get(), home_fd_, [&] {
    return make_v6(made, listeners_wanted(local_port_range(), options_.workers, options_.listeners_max));
  });
  if (!done || made.listeners.empty()) return;
  if (publish(ns, cookie, made)) hand_out(made);  // else what was published before still is; tried again
}

void NetnsTable::grow(uint64_t cookie, Namespace& ns) {
  Made made;
  made.cookie = cookie;
  made.value = ns.value;
  const auto done = NetnsScope::run(ns.fd.get(), home_fd_, [&]() -> Result<void> {
    const unsigned count = listeners_wanted(local_port_range(), options_.workers, options_.listeners_max);
    if (count <= ns.value.count4) return {};
    TRY_VOID(make_family(made, Endpoint::Family::V4, ns.value.count4, count));
    return make_v6(made, count);
  });
  ignore(done, "what was made is used; tried again with the next look");
  if (!made.listeners.empty() && publish(ns, cookie, made)) hand_out(made);  // else: what was published before still is
}

Result<void> NetnsTable::look_for_sources(uint64_t cookie) {
  const auto found = namespaces_.find(cookie);
  if (found == namespaces_.end() || !has(cookie)) return fail(Code::NotFound, "no listeners in that namespace");
  tapdeck_netns value{};
  TRY_VOID(NetnsScope::run(found->second.fd.get(), home_fd_, [&]() -> Result<void> {
    fill_sources(value);
    return {};
  }));
  return maps_.set_sources(cookie, value.source4_be, value.source6);
}

// Before the programs send anything there: nobody may connect to a listener of ours by its address.
Result<std::vector<tapdeck_own_key>> NetnsTable::note_own(uint64_t cookie, const Made& made) const {
  std::vector<tapdeck_own_key> noted;
  for (const auto& listener : made.listeners) {
    const auto key = own_key(cookie, listener.address);
    if (auto added = maps_.add_own_listener(key); !added) {
      for (const auto& before : noted) maps_.remove_own_listener(before);
      return std::unexpected(std::move(added).error());
    }
    noted.push_back(key);
  }
  return noted;
}

Result<void> NetnsTable::publish(Namespace& ns, uint64_t cookie, Made& made) {
  TRY(keys, note_own(cookie, made));
  // They listen already: what the programs send there waits until a worker has them.
  if (auto set = maps_.set_netns(cookie, made.value); !set) {
    for (const auto& key : keys) maps_.remove_own_listener(key);
    return set;
  }
  ns.value = made.value;
  ns.own_keys.insert(ns.own_keys.end(), keys.begin(), keys.end());
  for (auto& door : made.doors) {
    door.id = next_id_++;
    door.netns_cookie = cookie;
    ns.door_ids.push_back(door.id);
  }
  for (auto& listener : made.listeners) {
    listener.key = {CapturePath::Cgroup, next_id_++, cookie, kNoTarget};
    const std::unique_lock lock(mutex_);
    ns.listener_ids.push_back(listener.key.listener_id);
  }
  return {};
}

// The namespace is in the table: a worker asks for it at once.
void NetnsTable::hand_out(Made& made) {
  for (auto& door : made.doors) sink_.add_door(std::move(door));
  for (auto& listener : made.listeners) sink_.add_listener(std::move(listener));
}

// While we hold its descriptor, an inode number names one namespace.
NetnsTable::Namespaces::iterator NetnsTable::find(uint64_t inode) {
  return std::ranges::find_if(
      namespaces_, [&](const auto& item) { return item.second.inode == inode && !item.second.listener_ids.empty(); });
}

bool NetnsTable::note(uint32_t target, uint64_t inode) {
  const auto found = find(inode);
  if (found == namespaces_.end()) return false;
  Namespace& ns = found->second;
  ns.users |= 1ULL << target;
  ns.unseen = 0;
  return ns.is_complete();
}

Result<void> NetnsTable::prepare(uint32_t target, UniqueFd netns_fd) {
  struct stat info{};
  if (::fstat(netns_fd.get(), &info) != 0) return fail_errno(errno, "stat network namespace", Origin::Kernel);
  TRY_VOID(use(target, std::move(netns_fd)));
  if (const auto found = find(info.st_ino); found != namespaces_.end()) found->second.prepared |= 1ULL << target;
  return {};
}

Result<void> NetnsTable::use(uint32_t target, UniqueFd netns_fd, uint64_t cookie) {
  struct stat info{};
  if (::fstat(netns_fd.get(), &info) != 0) return fail_errno(errno, "stat network namespace", Origin::Kernel);
  const uint64_t bit = 1ULL << target;
  if (note(target, info.st_ino)) return {};
  if (const auto found = find(info.st_ino); found != namespaces_.end()) {
    complete(found->first, found->second);
    return {};
  }
  {
    const std::unique_lock lock(mutex_);  // in its grace time, and wanted again: begin anew
    std::erase_if(namespaces_, [&](const auto& item) { return item.second.inode == info.st_ino; });
  }
  Made made;
  TRY_VOID(NetnsScope::run(netns_fd.get(), home_fd_, [&] { return make_inside(made, cookie); }));
  Namespace fresh;
  fresh.fd = std::move(netns_fd);
  fresh.inode = info.st_ino;
  fresh.users = bit;
  TRY_VOID(publish(fresh, made.cookie, made));
  {
    const std::unique_lock lock(mutex_);
    namespaces_.emplace(made.cookie, std::move(fresh));
  }
  hand_out(made);
  return {};
}

bool NetnsTable::has(uint64_t cookie) const {
  const auto found = namespaces_.find(cookie);
  return found != namespaces_.end() && !found->second.listener_ids.empty();
}

bool NetnsTable::is_complete(uint64_t cookie) const {
  const auto found = namespaces_.find(cookie);
  return found != namespaces_.end() && !found->second.listener_ids.empty() && found->second.is_complete();
}

void NetnsTable::retire(uint64_t cookie, Namespace& ns) {
  if (ns.listener_ids.empty()) return;
  maps_.remove_netns(cookie);  // first: no new flow may be sent to a socket that is about to close
  for (const uint64_t id : ns.listener_ids) sink_.remove_listener(id);
  for (const uint64_t id : ns.door_ids) sink_.remove_door(id);
  ns.door_ids.clear();
  for (const auto& key : ns.own_keys) maps_.remove_own_listener(key);
  ns.own_keys.clear();
  const std::unique_lock lock(mutex_);
  ns.listener_ids.clear();
}

void NetnsTable::leave(uint32_t target, Why why, std::chrono::steady_clock::time_point now) {
  const uint64_t bit = 1ULL << target;
  for (auto& [cookie, ns] : namespaces_) {
    if (why != Why::Detached && cookie == home_cookie_) continue;
    if (((ns.users | ns.awaited) & bit) == 0 || ns.listener_ids.empty()) continue;
    const bool was_user = (ns.users & bit) != 0;
    ns.users &= ~bit;
    ns.prepared &= ~bit;
    if (why == Why::Emptied) {
      if (was_user) ns.retire_at = now + kGrace;
      ns.awaited |= bit;
      continue;
    }
    ns.awaited &= ~bit;
    if (ns.users != 0 || (ns.awaited != 0 && ns.retire_at > now)) continue;
    retire(cookie, ns);
    ns.close_at = now + kGrace;
  }
}

void NetnsTable::seen(const Users& users, std::chrono::steady_clock::time_point now) {
  for (auto& [cookie, ns] : namespaces_) {
    if (ns.listener_ids.empty() || cookie == home_cookie_) continue;
    const auto found = users.find(ns.inode);
    const uint64_t here = ns.prepared | (found == users.end() ? 0 : found->second);
    ns.unseen = here != 0 ? 0 : ns.unseen + 1;
    if (here != 0) ns.users = here;
    if (ns.users == 0 || ns.unseen < kUnseenToGo) continue;
    ns.users = 0;
    retire(cookie, ns);
    ns.close_at = now + kGrace;
  }
}

void NetnsTable::tick(std::chrono::steady_clock::time_point now) {
  for (auto& [cookie, ns] : namespaces_) {
    if (ns.users != 0 || ns.listener_ids.empty() || ns.retire_at > now) continue;
    retire(cookie, ns);
    ns.close_at = now + kGrace;
  }
  if (now >= look_at_) {
    look_at_ = now + kLookEvery;
    for (auto& [cookie, ns] : namespaces_) {
      if (!ns.listener_ids.empty()) grow(cookie, ns);
    }
  }
  const std::unique_lock lock(mutex_);
  std::erase_if(namespaces_, [&](const auto& item) {
    const Namespace& ns = item.second;
    return ns.users == 0 && ns.listener_ids.empty() && ns.close_at <= now;
  });
}

Result<UniqueFd> NetnsTable::upstream_socket(uint64_t cookie, int family, Transport transport) const {
  if (cookie == 0 || cookie == home_cookie_) return make_marked_socket(family, options_.mark, transport);
  const std::shared_lock lock(mutex_);  // held over setns: the descriptor must not close under it
  const auto found = namespaces_.find(cookie);
  if (found == namespaces_.end()) return fail(Code::NotFound, "the client's network namespace is gone", Origin::Kernel);
  Result<UniqueFd> made = UniqueFd();
  TRY_VOID(NetnsScope::run(found->second.fd.get(), home_fd_, [&]() -> Result<void> {
    made = make_marked_socket(family, options_.mark, transport);
    return {};
  }));
  return made;
}

NetnsTable::Counts NetnsTable::counts() const {
  const std::shared_lock lock(mutex_);
  Counts out;
  for (const auto& [cookie, ns] : namespaces_) {
    out.namespaces += ns.users != 0 ? 1 : 0;
    out.listeners += ns.listener_ids.size();
  }
  return out;
}

}  // namespace tapdeck::kernel

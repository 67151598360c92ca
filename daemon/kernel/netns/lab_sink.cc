// lab::Sink: what Capture hands out, collected.
#include "daemon/kernel/netns/lab.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace tapdeck::kernel::lab {

void Sink::add_listener(CapturedListener listener) {
  const std::scoped_lock lock(mutex_);
  listeners_.push_back(std::move(listener));
}

void Sink::add_door(NameDoor door) {
  const std::scoped_lock lock(mutex_);
  doors_.push_back(std::move(door));
}

void Sink::remove_door(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(doors_, [&](const auto& one) { return one.id == id; });
}

void Sink::on_name_seen(const NameSighting& seen) {
  const std::scoped_lock lock(mutex_);
  names_.push_back({seen, std::string(seen.bytes)});
}

void Sink::on_names_lost(uint64_t more) {
  const std::scoped_lock lock(mutex_);
  names_lost_ += more;
}

uint64_t Sink::names_lost() {
  const std::scoped_lock lock(mutex_);
  return names_lost_;
}

size_t Sink::doors() {
  const std::scoped_lock lock(mutex_);
  return doors_.size();
}

std::vector<Sink::Seen> Sink::names_seen() {
  const std::scoped_lock lock(mutex_);
  return names_;
}

namespace {

struct Message {
  explicit Message(std::string& bytes) : piece{bytes.data(), bytes.size()} {
    header.msg_name = &name;
    header.msg_namelen = sizeof(name);
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  sockaddr_storage name{};
  alignas(cmsghdr) std::array<char, 128> control{};
  iovec piece;
  msghdr header{};
};

}  // namespace

Sink::Sent Sink::sent(Endpoint::Family family) {
  const std::scoped_lock lock(mutex_);
  const auto door = std::ranges::find(doors_, family, [](const NameDoor& one) { return one.address.family; });
  if (door == doors_.end()) return {};
  const bool v6 = family == Endpoint::Family::V6;
  const int on = 1;
  ::setsockopt(door->fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on, sizeof(on));
  pollfd ready{door->fd.get(), POLLIN, 0};
  if (::poll(&ready, 1, 10000) != 1) return {};
  Sent out{door->fd.get(), door->target, {}, {}, std::string(512, '\0')};
  Message message(out.bytes);
  const ssize_t size = ::recvmsg(out.fd, &message.header, 0);
  out.bytes.resize(size < 0 ? 0 : static_cast<size_t>(size));
  out.from = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&message.name));
  const cmsghdr* part = CMSG_FIRSTHDR(&message.header);
  if (part == nullptr) return out;
  out.to.family = family;
  if (v6) {
    std::memcpy(out.to.address.data(), CMSG_DATA(part), 16);  // in6_pktinfo begins with it
  } else {
    in_pktinfo info{};
    std::memcpy(&info, CMSG_DATA(part), sizeof(info));
    std::memcpy(out.to.address.data(), &info.ipi_addr, 4);
  }
  return out;
}

void Sink::answer(const Sent& asked, const std::string& bytes) {
  std::string text = bytes;
  Message message(text);
  message.header.msg_namelen = asked.from.to_sockaddr(message.name);
  const bool v6 = asked.to.family == Endpoint::Family::V6;
  cmsghdr* part = CMSG_FIRSTHDR(&message.header);
  part->cmsg_level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  part->cmsg_type = v6 ? IPV6_PKTINFO : IP_PKTINFO;
  const size_t size = v6 ? sizeof(in6_pktinfo) : sizeof(in_pktinfo);
  part->cmsg_len = CMSG_LEN(size);
  message.header.msg_controllen = CMSG_SPACE(size);
  in_pktinfo info{};
  std::memcpy(&info.ipi_spec_dst, asked.to.address.data(), 4);
  if (v6) {
    std::memcpy(CMSG_DATA(part), asked.to.address.data(), 16);
  } else {
    std::memcpy(CMSG_DATA(part), &info, sizeof(info));
  }
  EXPECT_EQ(::sendmsg(asked.fd, &message.header, 0), static_cast<ssize_t>(text.size())) << std::strerror(errno);
}

Sink::Question Sink::question(Endpoint::Family family) {
  const std::scoped_lock lock(mutex_);
  std::vector<pollfd> ready;
  for (const NameDoor& door : doors_) ready.push_back({door.address.family == family ? door.fd.get() : -1, POLLIN, 0});
  if (::poll(ready.data(), ready.size(), 10000) < 1) return {};
  const auto at = std::ranges::find_if(ready, [](const pollfd& one) { return one.revents != 0; }) - ready.begin();
  const NameDoor& door = doors_[static_cast<size_t>(at)];
  Question out{door.fd.get(), {}, door.address, door.netns_cookie, std::string(4096, '\0')};
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  const ssize_t size =
      ::recvfrom(out.fd, out.bytes.data(), out.bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
  out.bytes.resize(size < 0 ? 0 : static_cast<size_t>(size));
  out.client = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&from));
  return out;
}

void Sink::remove_listener(uint64_t listener_id) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(listeners_, [&](const auto& one) { return one.key.listener_id == listener_id; });
}

void Sink::on_cgroup_gone(uint32_t) {
  int times = 0;
  {
    const std::scoped_lock lock(mutex_);
    times = ++gone_;
  }
  if (when_gone) when_gone(times);
}

void Sink::on_cgroup_back(uint32_t) {
  const std::scoped_lock lock(mutex_);
  ++back_;
}

void Sink::on_refused(const Refusal& refusal) {
  const std::scoped_lock lock(mutex_);
  refusals_.push_back(refusal);
}

void Sink::on_refused_as_recorded(const Refusal& refusal) {
  const std::scoped_lock lock(mutex_);
  as_recorded_.push_back(refusal);
}

Accepted Sink::accept(int milliseconds) {
  Accepted out;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  do {
    std::vector<pollfd> fds;
    std::vector<ListenerKey> keys;
    {
      const std::scoped_lock lock(mutex_);
      for (const auto& one : listeners_) {
        fds.push_back({one.fd.get(), POLLIN, 0});
        keys.push_back(one.key);
      }
    }
    ::poll(fds.data(), fds.size(), 20);  // short: a listener may be added meanwhile
    for (size_t i = 0; i < fds.size(); ++i) {
      if ((fds[i].revents & POLLIN) == 0) continue;
      out.fd = UniqueFd(::accept4(fds[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (!out.fd) continue;
      out.client = name_of(out.fd.get(), &::getpeername);
      out.local = name_of(out.fd.get(), &::getsockname);
      out.key = keys[i];
      return out;
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return out;
}

std::vector<Endpoint> Sink::addresses() {
  const std::scoped_lock lock(mutex_);
  std::vector<Endpoint> out;
  for (const auto& one : listeners_) out.push_back(one.address);
  return out;
}

std::vector<Refusal> Sink::refusals() {
  const std::scoped_lock lock(mutex_);
  return refusals_;
}

void Sink::on_left_cgroup(const Departure& departure) {
  const std::scoped_lock lock(mutex_);
  departures_.push_back(departure);
}

std::vector<Departure> Sink::departures() {
  const std::scoped_lock lock(mutex_);
  return departures_;
}

std::vector<Refusal> Sink::refusals_as_recorded() {
  const std::scoped_lock lock(mutex_);
  return as_recorded_;
}

int Sink::gone() {
  const std::scoped_lock lock(mutex_);
  return gone_;
}

int Sink::back() {
  const std::scoped_lock lock(mutex_);
  return back_;
}

}  // namespace tapdeck::kernel::lab

#include "daemon/kernel/sock_diag.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>

#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {
namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

// What its attributes say.
SocketFacts facts_of(const inet_diag_msg* message, size_t attributes_length) {
  SocketFacts facts;
  auto length = static_cast<unsigned>(attributes_length);
  // NOLINTNEXTLINE: the kernel's macros walk the attributes behind the message
  for (const auto* a = reinterpret_cast<const rtattr*>(message + 1); RTA_OK(a, length); a = RTA_NEXT(a, length)) {
    const size_t size = RTA_PAYLOAD(a);
    if (a->rta_type == INET_DIAG_CGROUP_ID && size >= sizeof facts.cgroup) {
      std::memcpy(&facts.cgroup, RTA_DATA(a), sizeof facts.cgroup);
    } else if (a->rta_type == INET_DIAG_SKV6ONLY && size >= 1) {
      facts.is_v6_only = *static_cast<const uint8_t*>(RTA_DATA(a)) != 0;
    }
  }
  return facts;
}

bool is_loopback(const inet_diag_msg& m) {
  const __be32* a = m.id.idiag_dst;
  if (m.idiag_family == AF_INET) return (ntohl(a[0]) >> 24) == 127;
  const bool mapped = a[0] == 0 && a[1] == 0 && a[2] == htonl(0xffff);
  return mapped ? (ntohl(a[3]) >> 24) == 127 : a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] == htonl(1);
}

// True when the dump is complete.
Result<bool> read_part(int fd, const EachSocket& each) {
  alignas(nlmsghdr) std::array<char, 32768> answer{};
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  if (n < 0) return fail_errno(errno, "list sockets", Origin::Kernel);
  auto length = static_cast<unsigned>(n);
  for (auto* h = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(h, length); h = NLMSG_NEXT(h, length)) {
    if (h->nlmsg_type == NLMSG_DONE) return true;
    if (h->nlmsg_type == NLMSG_ERROR) {
      return fail_errno(-static_cast<const nlmsgerr*>(NLMSG_DATA(h))->error, "list sockets", Origin::Kernel);
    }
    const auto* message = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
    each(*message, facts_of(message, h->nlmsg_len - NLMSG_LENGTH(sizeof(*message))));
  }
  return false;
}

void collect_ids(int directory, std::set<uint64_t>& out) {
  struct stat info{};
  if (::fstat(directory, &info) == 0) out.insert(info.st_ino);  // the kernel's cgroup id
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(copy), &::closedir);
  while (const dirent* entry = list ? ::readdir(list.get()) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    const UniqueFd child(::openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (child) collect_ids(child.get(), out);
  }
}

}  // namespace

Result<UniqueFd> open_sock_diag() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail_errno(errno, "sock_diag socket", Origin::Kernel);
  return fd;
}

Result<void> dump_tcp(int sock_diag, uint8_t family, uint32_t states, const EachSocket& each) {
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = states;
  if (::send(sock_diag, &request, sizeof(request), 0) < 0) return fail_errno(errno, "list sockets", Origin::Kernel);
  for (;;) {
    TRY(done, read_part(sock_diag, each));
    if (done) return {};
  }
}

Endpoint local_of(const inet_diag_msg& socket) {
  sockaddr_storage raw{};
  raw.ss_family = socket.idiag_family;
  if (socket.idiag_family == AF_INET6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
    std::memcpy(&v6.sin6_addr, socket.id.idiag_src, sizeof v6.sin6_addr);
    v6.sin6_port = socket.id.idiag_sport;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
    std::memcpy(&v4.sin_addr, socket.id.idiag_src, sizeof v4.sin_addr);
    v4.sin_port = socket.id.idiag_sport;
  }
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
}

std::set<uint64_t> cgroup_ids_below(int cgroup_fd) {
  std::set<uint64_t> out;
  collect_ids(cgroup_fd, out);
  return out;
}

Result<uint64_t> count_outbound_connections(const std::set<uint64_t>& cgroup_ids) {
  TRY(fd, open_sock_diag());
  std::set<uint16_t> listening;
  uint64_t count = 0;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    TRY_VOID(dump_tcp(fd.get(), family, 1U << TCP_LISTEN,
                      [&](const inet_diag_msg& m, const SocketFacts&) { listening.insert(m.id.idiag_sport); }));
  }
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    TRY_VOID(dump_tcp(fd.get(), family, 1U << TCP_ESTABLISHED | 1U << TCP_SYN_SENT,
                      [&](const inet_diag_msg& m, const SocketFacts& facts) {
                        if (cgroup_ids.contains(facts.cgroup) && !is_loopback(m) &&
                            !listening.contains(m.id.idiag_sport))
                          ++count;
                      }));
  }
  return count;
}

}  // namespace tapdeck::kernel

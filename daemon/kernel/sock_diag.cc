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

uint64_t cgroup_of(const inet_diag_msg* message, size_t attributes_length) {
  auto length = static_cast<unsigned>(attributes_length);
  // NOLINTNEXTLINE: the kernel's macros walk the attributes behind the message
  for (const auto* a = reinterpret_cast<const rtattr*>(message + 1); RTA_OK(a, length); a = RTA_NEXT(a, length)) {
    uint64_t id = 0;
    if (a->rta_type == INET_DIAG_CGROUP_ID && RTA_PAYLOAD(a) >= sizeof(id)) {
      std::memcpy(&id, RTA_DATA(a), sizeof(id));
      return id;
    }
  }
  return 0;
}

bool is_loopback(const inet_diag_msg& m) {
  const __be32* a = m.id.idiag_dst;
  if (m.idiag_family == AF_INET) return (ntohl(a[0]) >> 24) == 127;
  const bool mapped = a[0] == 0 && a[1] == 0 && a[2] == htonl(0xffff);
  return mapped ? (ntohl(a[3]) >> 24) == 127 : a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] == htonl(1);
}

using Each = std::function<void(const inet_diag_msg&, uint64_t cgroup_id)>;

// True when the dump is complete.
Result<bool> read_part(int fd, const Each& each) {
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
    each(*message, cgroup_of(message, h->nlmsg_len - NLMSG_LENGTH(sizeof(*message))));
  }
  return false;
}

Result<void> dump(uint8_t family, uint32_t states, const Each& each) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail_errno(errno, "sock_diag socket", Origin::Kernel);
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = states;
  if (::send(fd.get(), &request, sizeof(request), 0) < 0) return fail_errno(errno, "list sockets", Origin::Kernel);
  for (;;) {
    TRY(done, read_part(fd.get(), each));
    if (done) return {};
  }
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

std::set<uint64_t> cgroup_ids_below(int cgroup_fd) {
  std::set<uint64_t> out;
  collect_ids(cgroup_fd, out);
  return out;
}

Result<uint64_t> count_outbound_connections(const std::set<uint64_t>& cgroup_ids) {
  std::set<uint16_t> listening;
  uint64_t count = 0;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    TRY_VOID(
        dump(family, 1U << TCP_LISTEN, [&](const inet_diag_msg& m, uint64_t) { listening.insert(m.id.idiag_sport); }));
  }
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    TRY_VOID(dump(family, 1U << TCP_ESTABLISHED | 1U << TCP_SYN_SENT, [&](const inet_diag_msg& m, uint64_t cgroup) {
      if (cgroup_ids.contains(cgroup) && !is_loopback(m) && !listening.contains(m.id.idiag_sport)) ++count;
    }));
  }
  return count;
}

}  // namespace tapdeck::kernel

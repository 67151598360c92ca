#include "daemon/kernel/netlink_message.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  append(&header, sizeof(header));
}

void NetlinkMessage::append(const void* data, size_t size) {
  const auto* from = static_cast<const char*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkMessage::attribute(uint16_t type, const void* value, size_t size) {
  const rtattr head{static_cast<unsigned short>(RTA_LENGTH(size)), type};
  append(&head, sizeof(head));
  append(value, size);
}

size_t NetlinkMessage::begin(uint16_t type) {
  const size_t at = bytes_.size();
  attribute(type, "", 0);
  return at;
}

void NetlinkMessage::end(size_t at) {
  const auto length = static_cast<unsigned short>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at + offsetof(rtattr, rta_len), &length, sizeof(length));
}

const std::vector<char>& NetlinkMessage::bytes() {
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
  return bytes_;
}

Result<void> ask_netlink(NetlinkMessage& message, const std::string& what,
                         const std::function<void(const nlmsghdr*)>& each) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail_errno(errno, "netlink socket", Origin::Kernel);
  const std::vector<char>& bytes = message.bytes();
  if (::send(fd.get(), bytes.data(), bytes.size(), 0) < 0) return fail_errno(errno, what, Origin::Kernel);
  alignas(nlmsghdr) std::array<char, 32768> answer{};
  for (;;) {
    const ssize_t n = ::recv(fd.get(), answer.data(), answer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, what, Origin::Kernel);
    auto length = static_cast<unsigned>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(h, length); h = NLMSG_NEXT(h, length)) {
      if (h->nlmsg_type == NLMSG_DONE) return {};
      if (h->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(h))->error;
        if (error == 0) return {};
        return fail_errno(error, what, Origin::Kernel);
      }
      if (each) each(h);
    }
  }
}

}  // namespace tapdeck::kernel

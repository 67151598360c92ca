#include "daemon/kernel/no_capture.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace tapdeck::kernel {
namespace {

Result<void> is_free() {
  return fail(Code::NotFound, "nothing is attached there", Origin::Kernel);
}

}  // namespace

Result<void> NoCapture::attach_cgroup(uint32_t, const std::string&, TargetPolicy) {
  return std::unexpected(why_);
}

Result<void> NoCapture::attach_interface(uint32_t, const std::string&, TargetPolicy) {
  return std::unexpected(why_);
}

Result<void> NoCapture::attach_namespace(uint32_t, NamespaceListeners) {
  return std::unexpected(why_);
}

Result<void> NoCapture::prepare_netns(uint32_t, int) {
  return std::unexpected(why_);
}

Result<void> NoCapture::set_policy(uint32_t, TargetPolicy) {
  return is_free();
}

Result<size_t> NoCapture::refuse_as_recorded(uint32_t, const std::vector<Endpoint>&) {
  return std::unexpected(is_free().error());
}

Result<void> NoCapture::detach(uint32_t) {
  return is_free();
}

Result<CapturedFlow> NoCapture::resolve(const ListenerKey&, const Endpoint&, const Endpoint&) {
  return fail(Code::NotFound, "nothing is captured", Origin::Kernel);
}

Result<CapturedFlow> NoCapture::resolve_question(uint64_t, const Endpoint&, const Endpoint&) {
  return fail(Code::NotFound, "nothing is captured", Origin::Kernel);
}

namespace {

Result<UniqueFd> own_socket(uint64_t netns_cookie, int family, int type, int protocol) {
  if (netns_cookie != 0) return fail(Code::NotFound, "no network namespace but the own one is known", Origin::Kernel);
  UniqueFd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno(errno, "socket");
  return fd;
}

}  // namespace

Result<UniqueFd> NoCapture::upstream_socket(uint64_t netns_cookie, int family) {
  return own_socket(netns_cookie, family, SOCK_STREAM, IPPROTO_TCP);
}

Result<UniqueFd> NoCapture::datagram_socket(uint64_t netns_cookie, int family) {
  return own_socket(netns_cookie, family, SOCK_DGRAM, IPPROTO_UDP);
}

}  // namespace tapdeck::kernel

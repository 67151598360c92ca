#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/base/whole_file.h"
#include "daemon/kernel/local_routes.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/probe_internal.h"
#include "daemon/kernel/tproxy_rules.h"

namespace tapdeck::kernel::probes {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kArrivalMs = 3000;

Result<void> become_ordinary() {
  if (::geteuid() == 0 &&
      (::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0)) {
    return fail_errno(errno, "become nobody");
  }
  ::prctl(PR_SET_DUMPABLE, 1);  // else our own /proc is root's
  return {};
}

Result<void> write_to(const char* file, const std::string& text) {
  const UniqueFd fd(::open(file, O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, std::string("open ") + file);
  return write_all(fd.get(), text);
}

Result<void> make_namespaces() {
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0) {
    return fail_errno(errno,
                      "make namespaces as an ordinary user (sysctl kernel.unprivileged_userns_clone, "
                      "user.max_user_namespaces, AppArmor)");
  }
  TRY_VOID(write_to("/proc/self/uid_map", uid + " " + uid + " 1\n"));
  TRY_VOID(write_to("/proc/self/setgroups", "deny"));
  return write_to("/proc/self/gid_map", gid + " " + gid + " 1\n");
}

// The address that a connection to `to` arrives at.
Result<Endpoint> arrival(int listener, const Endpoint& to) {
  sockaddr_storage raw{};
  socklen_t length = to.to_sockaddr(raw);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!client) return fail_errno(errno, "socket");
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 && errno != EINPROGRESS) {
    return fail_errno(errno, "connect to " + to.to_string());
  }
  pollfd waiting{listener, POLLIN, 0};
  if (::poll(&waiting, 1, kArrivalMs) <= 0) return fail(Code::Timeout, "the connection did not arrive");
  const UniqueFd accepted(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  length = sizeof raw;
  if (::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&raw), &length) != 0)
    return fail_errno(errno, "accept");
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw));
}

}  // namespace

Outcome netns_capture() {
  TRY_VOID(become_ordinary());
  TRY_VOID(make_namespaces());
  TRY_VOID(make_local(all_addresses()));
  const Endpoint at = *Endpoint::parse("127.84.0.1:61999");
  const Endpoint nowhere = *Endpoint::parse("192.0.2.1:9");
  TRY(listener, make_listener(at, 0, Transparent::Yes));
  TRY_VOID(set_tproxy_rules({at, *Endpoint::parse("[::1]:61999"), {}}));
  TRY(where, arrival(listener.get(), nowhere));
  if (where != nowhere) return fail(Code::Internal, "arrived for " + where.to_string());
  return "a connect in a namespace of an ordinary user arrived with its destination";
}

}  // namespace tapdeck::kernel::probes

#include "daemon/admin/listen.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tapdeck::admin {
namespace {

constexpr int kBacklog = 64;

Result<sockaddr_un> unix_address(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) {
    return fail(Code::InvalidArgument, "socket path " + text + " is longer than " +
                                           std::to_string(sizeof address.sun_path - 1) + " bytes; set admin.socket");
  }
  std::memcpy(address.sun_path, text.data(), text.size());
  return address;
}

}  // namespace

Result<UniqueFd> listen_tcp(const Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t length = endpoint.to_sockaddr(address);
  UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return fail_errno(errno, "admin socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return fail_errno(errno, "admin server cannot listen on " + endpoint.to_string() + " (admin.listen)");
  }
  return fd;
}

Result<UniqueFd> listen_unix(const std::filesystem::path& path) {
  TRY(address, unix_address(path));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), name, sizeof address) == 0) {
    return fail(Code::Busy, "another tapdeck answers on " + path.string());
  }
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(path.c_str());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return fail_errno(errno, "admin socket");
  // The mode of the inode decides the mode of the file bind() makes: there is no moment at which others may connect.
  if (::fchmod(fd.get(), 0600) != 0 || ::bind(fd.get(), name, sizeof address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return fail_errno(errno, "admin server cannot listen on " + path.string() + " (admin.socket)");
  }
  return fd;
}

bool is_trusted_peer(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

}  // namespace tapdeck::admin

#include "daemon/app/watcher_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "daemon/base/processes.h"

namespace tapdeck::app {
namespace {

constexpr size_t kLongestName = 15;  // of PR_SET_NAME

void rename_process(std::string_view name) {
  const std::string kept(name.substr(0, kLongestName));
  ::prctl(PR_SET_NAME, kept.c_str());
  const uintptr_t begin = stat_field("self", 48);  // arg_start and arg_end
  const uintptr_t end = stat_field("self", 49);
  if (begin == 0 || end <= begin + kept.size() + 1) return;
  char* arguments = reinterpret_cast<char*>(begin);
  std::memset(arguments, 0, end - begin);
  std::memcpy(arguments, kept.data(), kept.size());
}

// Under a filter of system calls that knows no close_range().
void close_listed_from(int first) {
  std::vector<int> open;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    open.push_back(std::atoi(it->path().filename().c_str()));
  }
  for (const int fd : open) {
    if (fd >= first) ::close(fd);  // that of the listing is closed already
  }
}

UniqueFd above_standard(UniqueFd fd) {
  if (fd.get() > 2) return fd;
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

void hold_nothing_but(int socket) {
  ::dup2(socket, kWatcherSocket);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) {
    if (null == fd) continue;
    if (null >= 0 ? ::dup2(null, fd) < 0 : true) ::close(fd);
  }
  if (::close_range(kWatcherSocket + 1, ~0U, 0) != 0) close_listed_from(kWatcherSocket + 1);
  // The directory of the caller could not be unmounted.
  if (::chdir("/") != 0) return;
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> watcher_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno(errno, "socketpair");
  UniqueFd first(ends[0]);
  UniqueFd second(ends[1]);
  UniqueFd ours = above_standard(std::move(first));
  UniqueFd theirs = above_standard(std::move(second));
  if (!ours || !theirs) return fail_errno(errno, "move a watcher's socket");
  return std::pair(std::move(ours), std::move(theirs));
}

void become_watcher(int socket, std::string_view name) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::setsid();
  hold_nothing_but(socket);
  rename_process(name);
}

ssize_t receive_from(int fd, char* buffer, size_t size) {
  ssize_t n = 0;
  do {
    n = ::recv(fd, buffer, size, 0);
  } while (n < 0 && errno == EINTR);
  return n;
}

bool has_closed(int fd) {
  char skipped = 0;
  ssize_t n = 0;
  do {
    n = receive_from(fd, &skipped, 1);
  } while (n > 0);
  return n == 0 || errno == ECONNRESET;  // ECONNRESET: with our answer unread
}

}  // namespace tapdeck::app

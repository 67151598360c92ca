#include "daemon/kernel/netns/lab.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::kernel::lab {
namespace {

std::string unique_name() {
  static std::atomic<int> counter{0};
  return "tapdeck-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

void set_loopback_up() {
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::ioctl(fd.get(), SIOCSIFFLAGS, &request), 0) << std::strerror(errno);
}

socklen_t raw_address(const Endpoint& endpoint, int as_family, sockaddr_storage& out) {
  if (as_family != AF_INET6 || endpoint.family != Endpoint::Family::V4) return endpoint.to_sockaddr(out);
  Endpoint mapped = endpoint;
  mapped.family = Endpoint::Family::V6;
  mapped.address = {};
  mapped.address[10] = mapped.address[11] = 0xff;
  std::copy_n(endpoint.address.begin(), 4, mapped.address.begin() + 12);
  return mapped.to_sockaddr(out);
}

Endpoint name_of(int fd, int (*call)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage raw{};
  socklen_t length = sizeof(raw);
  if (call(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return {};
  return Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&raw));
}

void write_text(const std::string& path, const char* text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, text, std::strlen(text)) < 0) ::_exit(97);
  ::close(fd);
}

}  // namespace

void sh(const std::string& command) {
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "re");
  char buffer[512];
  while (pipe != nullptr && std::fgets(buffer, sizeof(buffer), pipe) != nullptr) out += buffer;
  if (pipe != nullptr) ::pclose(pipe);
  return out;
}

Endpoint ep(const std::string& text) {
  const auto parsed = Endpoint::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(Endpoint{});
}

FreshNetns::FreshNetns() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (::geteuid() != 0) return;                    // the fixture skips
  if (::unshare(CLONE_NEWNET) != 0) std::abort();  // going on would send test traffic into the real network
  set_loopback_up();
}

FreshNetns::~FreshNetns() {
  if (::geteuid() == 0 && ::setns(before_.get(), CLONE_NEWNET) != 0) std::abort();
}

SideNetns::SideNetns() {
  std::thread([this] {
    if (::unshare(CLONE_NEWNET) != 0) std::abort();
    set_loopback_up();
    fd_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
}

std::string SideNetns::prefix() const {
  return "nsenter --net=/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get()) + " ";
}

TestCgroup::TestCgroup() {
  if (::geteuid() != 0) return;
  const auto mount = find_cgroup2_mount();
  EXPECT_TRUE(mount);
  path_ = mount.value_or("/nonexistent") + "/" + unique_name();
  make();
}

void TestCgroup::make() {
  ASSERT_EQ(::mkdir(path_.c_str(), 0755), 0) << path_ << ": " << std::strerror(errno);
}

void TestCgroup::remove() {
  EXPECT_TRUE(eventually([&] { return ::rmdir(path_.c_str()) == 0 || errno == ENOENT; })) << path_;
}

TestCgroup::~TestCgroup() {
  if (!path_.empty()) remove();
}

int TestCgroup::attached_programs() const {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int total = 0;
  for (int type = 0; type < __MAX_BPF_ATTACH_TYPE; ++type) {
    __u32 count = 0;
    if (bpf_prog_query(fd.get(), static_cast<bpf_attach_type>(type), 0, nullptr, nullptr, &count) == 0) {
      total += static_cast<int>(count);
    }
  }
  return total;
}

Client::Client(const std::string& cgroup, int netns_fd, const Body& body) {
  int pair[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(pair[0]);
    if (!cgroup.empty()) write_text(cgroup + "/cgroup.procs", "0");
    if (netns_fd >= 0 && ::setns(netns_fd, CLONE_NEWNET) != 0) ::_exit(98);
    // Without this a client holds the channels of the others, and none of them sees the end of its own.
    const auto mine = static_cast<unsigned>(pair[1]);
    ::close_range(3, mine - 1, 0);
    ::close_range(mine + 1, ~0U, 0);
    // Thousands of flows at once, where shells begin with 1,024 descriptors.
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    Report report;
    report.pid = ::getpid();
    body(report);
    if (::write(pair[1], &report, sizeof(report)) != sizeof(report)) ::_exit(99);
    char wait = 0;
    while (::read(pair[1], &wait, 1) < 0 && errno == EINTR) continue;
    ::_exit(0);
  }
  ::close(pair[1]);
  channel_ = UniqueFd(pair[0]);
}

Report Client::report() {
  Report report;
  const bool complete = ::read(channel_.get(), &report, sizeof(report)) == sizeof(report);
  EXPECT_TRUE(complete) << "the client died";
  return report;
}

void Client::kill_and_wait() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Client::~Client() {
  channel_.reset();
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

Client::Body connects(ConnectOptions options) {
  return [options = std::move(options)](Report& report) {
    const bool v6 = options.as_family == AF_INET6 || options.to.family == Endpoint::Family::V6;
    const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    const int yes = 1;
    const timeval limit{3, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (options.only6 == Only6::Yes) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    if (!options.device.empty()) {
      ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(),
                   static_cast<socklen_t>(options.device.size()));
    }
    sockaddr_storage raw{};
    if (options.from_port != 0) {
      Endpoint any;
      any.family = v6 ? Endpoint::Family::V6 : Endpoint::Family::V4;
      any.port = options.from_port;
      const socklen_t length = any.to_sockaddr(raw);
      if (::bind(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) report.error = errno;
    }
    const socklen_t length = raw_address(options.to, options.as_family, raw);
    if (report.error == 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) report.error = errno;
    report.peer = name_of(fd, &::getpeername);
    report.local = name_of(fd, &::getsockname);
  };
}

Client::Body sends_udp(const Endpoint& to, Connected connected) {
  return [to, connected](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = to.to_sockaddr(raw);
    const auto* address = reinterpret_cast<sockaddr*>(&raw);
    const int fd = ::socket(raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (connected == Connected::Yes) {
      if (::connect(fd, address, length) != 0) report.error = errno;
    } else if (::sendto(fd, "x", 1, 0, address, length) != 1) {
      report.error = errno;
    }
  };
}

Client::Body asks_udp(const Endpoint& to) {
  return [to](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = to.to_sockaddr(raw);
    const int fd = ::socket(raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    pollfd ready{fd, POLLIN, 0};
    char answer = 0;
    const bool sent = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 && ::send(fd, "x", 1, 0) == 1;
    if (!sent) {
      report.error = errno;
    } else if (::poll(&ready, 1, 10000) != 1) {
      report.error = ETIMEDOUT;
    } else if (::recv(fd, &answer, 1, 0) < 0) {
      report.error = errno;
    }
  };
}

UniqueFd listen_on(const Endpoint& address) {
  auto fd = make_listener(address, 0, Transparent::No);
  EXPECT_TRUE(fd) << fd.error().message();
  return fd ? std::move(*fd) : UniqueFd();
}

bool accepts_within(const UniqueFd& listener, int milliseconds) {
  pollfd one{listener.get(), POLLIN, 0};
  if (::poll(&one, 1, milliseconds) != 1) return false;
  const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return accepted.is_open();
}

}  // namespace tapdeck::kernel::lab

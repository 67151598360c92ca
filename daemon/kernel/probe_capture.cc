#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/escapes.h"
#include "daemon/kernel/netlink_message.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/probe_internal.h"

namespace tapdeck::kernel::probes {
namespace {

constexpr uint32_t kSlot = 0;
constexpr int kWaitMs = 3000;
// Nobody renews it: a host under load takes its time between the steps of a probe, and past the lease flows go direct.
constexpr std::chrono::milliseconds kLease{60000};
static_assert(kLease > kTimeLimit);

class Collector final : public ListenerSink {
 public:
  void add_listener(CapturedListener listener) override {
    const std::scoped_lock lock(mutex_);
    listeners_.push_back(std::move(listener));
  }
  void remove_listener(uint64_t) override {}

  // The destination of the first flow that arrives.
  Result<Endpoint> first_flow(Capture& capture) {
    std::vector<pollfd> fds;
    const std::scoped_lock lock(mutex_);
    for (const auto& one : listeners_) fds.push_back({one.fd.get(), POLLIN, 0});
    if (::poll(fds.data(), fds.size(), kWaitMs) <= 0) return fail(Code::Timeout, "the connection did not arrive");
    for (size_t i = 0; i < fds.size(); ++i) {
      if ((fds[i].revents & POLLIN) == 0) continue;
      const UniqueFd accepted(::accept4(fds[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      sockaddr_storage peer{};
      sockaddr_storage local{};
      socklen_t length = sizeof(peer);
      ::getpeername(accepted.get(), reinterpret_cast<sockaddr*>(&peer), &length);
      length = sizeof(local);
      ::getsockname(accepted.get(), reinterpret_cast<sockaddr*>(&local), &length);
      TRY(flow, capture.resolve(listeners_[i].key, Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&peer)),
                                Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&local))));
      return flow.original_destination;
    }
    return fail(Code::Internal, "accept failed");
  }

 private:
  std::mutex mutex_;
  std::vector<CapturedListener> listeners_;
};

// Temporary run directory.
class Scratch {
 public:
  Scratch() {
    std::array<char, 32> name{"/tmp/tapdeck-probe-XXXXXX"};
    if (::mkdtemp(name.data()) != nullptr) path_ = name.data();
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A cgroup directory, and a child that connects from inside it.
class ProbeCgroup {
 public:
  explicit ProbeCgroup(const std::string& mount, const char* suffix = "")
      : path_(mount + "/tapdeck-probe-" + std::to_string(::getpid()) + suffix) {
    made_ = ::mkdir(path_.c_str(), 0755) == 0;
  }
  ~ProbeCgroup() {
    if (made_) ::rmdir(path_.c_str());
  }
  ProbeCgroup(const ProbeCgroup&) = delete;
  ProbeCgroup& operator=(const ProbeCgroup&) = delete;
  [[nodiscard]] bool made() const { return made_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

void connect_and_wait(const Endpoint& to) {
  sockaddr_storage raw{};
  const socklen_t length = to.to_sockaddr(raw);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{kWaitMs / 1000, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  ignore(::connect(fd, reinterpret_cast<sockaddr*>(&raw), length), "the other side judges");
}

template <class Body>
pid_t in_child(Body body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  body();
  ::_exit(0);
}

ifreq request_for(const char* name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name, std::strlen(name));
  return request;
}

Result<void> bring_up(const char* name, const char* address) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (address != nullptr) {
    for (const auto& [command, text] : {std::pair<unsigned long, const char*>{SIOCSIFADDR, address},
                                        std::pair<unsigned long, const char*>{SIOCSIFNETMASK, "255.255.255.0"}}) {
      ifreq request = request_for(name);
      sockaddr_storage raw{};
      ignore(Endpoint::parse(std::string(text) + ":0")->to_sockaddr(raw), "IPv4");
      std::memcpy(&request.ifr_addr, &raw, sizeof(request.ifr_addr));
      if (::ioctl(fd.get(), command, &request) != 0) return fail_errno(errno, std::string("address of ") + name);
    }
  }
  ifreq request = request_for(name);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, std::string("link ") + name);
  return {};
}

Result<void> default_route(const char* gateway) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  rtentry route{};
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  route.rt_dst.sa_family = AF_INET;
  route.rt_genmask.sa_family = AF_INET;
  sockaddr_storage raw{};
  ignore(Endpoint::parse(std::string(gateway) + ":0")->to_sockaddr(raw), "IPv4");
  std::memcpy(&route.rt_gateway, &raw, sizeof(route.rt_gateway));
  if (::ioctl(fd.get(), SIOCADDRT, &route) != 0) return fail_errno(errno, "default route");
  return {};
}

Result<void> make_veth(const char* here, const char* there, int peer_netns) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.body(ifinfomsg{});
  message.attribute(IFLA_IFNAME, here, std::strlen(here) + 1);
  const size_t info = message.begin(IFLA_LINKINFO);
  message.attribute(IFLA_INFO_KIND, "veth", 5);
  const size_t data = message.begin(IFLA_INFO_DATA);
  const size_t peer = message.begin(VETH_INFO_PEER);
  message.body(ifinfomsg{});
  message.attribute(IFLA_IFNAME, there, std::strlen(there) + 1);
  message.attribute(IFLA_NET_NS_FD, &peer_netns, sizeof(peer_netns));
  message.end(peer);
  message.end(data);
  message.end(info);
  return ask_netlink(message, "make veth");
}

}  // namespace

Outcome cgroup_capture() {
  TRY(mount, find_cgroup2_mount());
  const Endpoint nowhere = *Endpoint::parse("192.0.2.1:9");
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "unshare(CLONE_NEWNET)");
  TRY_VOID(bring_up("lo", nullptr));
  const ProbeCgroup cgroup(mount);
  if (!cgroup.made()) {
    const char* who =
        errno == EACCES ? " (CAP_DAC_OVERRIDE; `run` makes one too, `serve` takes those that are there)" : "";
    return fail_errno(errno, "make " + cgroup.path() + who);
  }
  const Scratch scratch;
  Collector sink;
  CaptureOptions options;
  options.run_dir = scratch.path();
  options.lease = kLease;
  TRY(capture, Capture::create(options, sink));
  capture->renew_lease();
  TRY_VOID(capture->attach_cgroup(kSlot, cgroup.path(), {}));
  TRY_VOID(capture->prepare_netns(kSlot, -1));
  const std::string members = cgroup.path() + "/cgroup.procs";
  const pid_t client = in_child([&] {
    const int fd = ::open(members.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && ::write(fd, "0", 1) == 1) connect_and_wait(nowhere);
  });
  const auto destination = sink.first_flow(*capture);
  ::waitpid(client, nullptr, 0);
  if (!destination) return std::unexpected(destination.error());
  if (*destination != nowhere) return fail(Code::Internal, "arrived for " + destination->to_string());
  return "a connect from a cgroup arrived with its destination";
}

Outcome cgroup_escapes() {
  TRY(mount, find_cgroup2_mount());
  TRY(maps, BpfMaps::create(1));
  TRY(escapes, Escapes::watch(*maps));
  const ProbeCgroup cgroup(mount);
  struct stat info{};
  if (!cgroup.made() || ::stat(cgroup.path().c_str(), &info) != 0) return fail_errno(errno, "make " + cgroup.path());
  TRY_VOID(escapes->add(kSlot, info.st_ino));
  // Not to the root of the mount: where that is a container's own cgroup, controllers may keep it without processes.
  const ProbeCgroup elsewhere(mount, "-out");
  if (!elsewhere.made()) return fail_errno(errno, "make " + elsewhere.path());
  const pid_t client = in_child([&] {
    for (const std::string& directory : {cgroup.path(), elsewhere.path()}) {
      const int fd = ::open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
      if (fd < 0 || ::write(fd, "0", 1) != 1) ::_exit(errno);
    }
  });
  int status = 0;
  ::waitpid(client, &status, 0);
  const int error = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  if (error != 0) return fail_errno(error, "move a process into and out of " + cgroup.path());
  if (maps->counters(kSlot).count[TAPDECK_LEFT_CGROUP] == 0) return fail(Code::Internal, "it went unseen");
  return "a process that left a cgroup was seen";
}

Outcome tc_capture() {
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "unshare(CLONE_NEWNET)");
  TRY_VOID(bring_up("lo", nullptr));
  UniqueFd side;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) == 0) side = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
  if (!side) return fail(Code::Permission, "cannot make a second network namespace");
  TRY_VOID(make_veth("probe0", "probe1", side.get()));
  TRY_VOID(bring_up("probe0", "198.18.1.1"));
  const Endpoint nowhere = *Endpoint::parse("192.0.2.1:9");
  const Scratch scratch;
  Collector sink;
  CaptureOptions options;
  options.run_dir = scratch.path();
  options.lease = kLease;
  TRY(capture, Capture::create(options, sink));
  capture->renew_lease();
  TRY_VOID(capture->attach_interface(kSlot, "probe0", {}));
  const pid_t client = in_child([&] {
    if (::setns(side.get(), CLONE_NEWNET) == 0 && bring_up("probe1", "198.18.1.2") && default_route("198.18.1.1")) {
      connect_and_wait(nowhere);
    }
  });
  const auto destination = sink.first_flow(*capture);
  ::waitpid(client, nullptr, 0);
  if (!destination) return std::unexpected(destination.error());
  if (*destination != nowhere) return fail(Code::Internal, "arrived for " + destination->to_string());
  return "a SYN over a veth pair was assigned to a listener";
}

}  // namespace tapdeck::kernel::probes

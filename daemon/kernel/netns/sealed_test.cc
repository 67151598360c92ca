// Sockets that are not TCP: what connect() of a UDP socket tells, and what a sealed target's packets come to, whenever
// and however their sockets were made.
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

int connect_to(int fd, const char* to) {
  sockaddr_storage raw{};
  const socklen_t length = Endpoint::parse(to)->to_sockaddr(raw);
  return ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
}

int send_to(int fd, const void* data, size_t size, const char* to) {
  sockaddr_storage raw{};
  const socklen_t length = Endpoint::parse(to)->to_sockaddr(raw);
  return ::sendto(fd, data, size, 0, reinterpret_cast<sockaddr*>(&raw), length) < 0 ? errno : 0;
}

int send_one(int fd) {
  return ::send(fd, "x", 1, 0) < 0 ? errno : 0;
}

// errno of a receive that somebody ends within ten seconds; 0: a datagram.
int receive_one(int fd) {
  pollfd ready{fd, POLLIN, 0};
  std::array<char, 256> buffer{};
  if (::poll(&ready, 1, 10000) != 1) return ETIMEDOUT;
  return ::recv(fd, buffer.data(), buffer.size(), 0) < 0 ? errno : 0;
}

Endpoint name_of(int fd, int (*call)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage raw{};
  socklen_t length = sizeof(raw);
  if (call(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return {};
  return Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&raw));
}

int udp_socket(const char* to) {
  return ::socket(Endpoint::parse(to)->family == Endpoint::Family::V6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC,
                  0);
}

// A client that goes on when it is told to. Shared memory: a Client keeps no other descriptor.
class Steps {
 public:
  Steps()
      : step_(static_cast<std::atomic<int>*>(
            ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Steps() { ::munmap(step_, sizeof(std::atomic<int>)); }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;
  // The client: says that it got to `step`, and waits for the test to allow the next one.
  void reached(int step) const {
    step_->store(2 * step);
    while (step_->load() == 2 * step) ::syscall(SYS_futex, step_, FUTEX_WAIT, 2 * step, nullptr, nullptr, 0);
  }
  // The test.
  [[nodiscard]] bool wait_for(int step) const {
    return eventually([&] { return step_->load() == 2 * step; });
  }
  void go_on() const {
    step_->fetch_add(1);
    ::syscall(SYS_futex, step_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

 private:
  std::atomic<int>* step_;
};

class SealedSockets : public CgroupCapture {
 protected:
  void SetUp() override {
    CgroupCapture::SetUp();
    if (IsSkipped()) return;
    lab::sh("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
    lab::sh("ip addr add 198.18.1.7/24 dev up0 && ip route add default via 198.18.1.1");
    lab::sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
  }
  // What one client in the cgroup says its connect() said.
  Report probe(const char* to) {
    Client client(cgroup_.path(), -1, [to](Report& report) {
      const int fd = udp_socket(to);
      report.error = connect_to(fd, to);
      report.peer = name_of(fd, &::getpeername);
      report.local = name_of(fd, &::getsockname);
    });
    return client.report();
  }
  void expect_nothing_counted() {
    const TargetStats stats = target_stats();
    for (size_t i = 0; i < kUncapturedReasons; ++i) EXPECT_EQ(stats.uncaptured[i], 0U) << to_string(Uncaptured(i));
    EXPECT_EQ(stats.refused_sealed, 0U);
    EXPECT_TRUE(sink_.refusals().empty());
  }
};

TEST_F(SealedSockets, ConnectOfAUdpSocketTellsWhetherThereIsARouteAndIsNotCounted) {
  attach(kOpen);
  for (const auto policy : {kOpen, kSealed}) {
    ASSERT_TRUE(capture_->set_policy(kSlot, policy));
    const Report four = probe("192.0.2.10:443");
    EXPECT_EQ(four.error, 0);
    EXPECT_EQ(four.peer, ep("192.0.2.10:443"));
    EXPECT_EQ(four.local.ip(), "198.18.1.7");
    EXPECT_EQ(probe("[2001:db8::10]:443").error, ENETUNREACH);
  }
  EXPECT_EQ(probe("192.0.2.10:8443").error, 0);
  EXPECT_EQ(probe("[2001:db8::10]:8443").error, ENETUNREACH);
  expect_nothing_counted();
}

TEST_F(SealedSockets, AnAddressThatCameLaterIsFound) {
  attach(kSealed);
  EXPECT_EQ(probe("[2001:db8::10]:443").error, ENETUNREACH);
  lab::sh("ip -6 addr add fd00:8::7/64 dev up0 nodad");
  EXPECT_TRUE(eventually([&] { return probe("[2001:db8::10]:443").error == 0; }));
  EXPECT_EQ(probe("[2001:db8::10]:443").local.ip(), "fd00:8::7");
}

TEST_F(SealedSockets, WhoSendsIsRefusedByTheKernelAndCountedOnce) {
  lab::sh("ip -6 addr add fd00:8::7/64 dev up0 nodad");
  attach(kSealed);
  Client client(cgroup_.path(), -1, [](Report& report) {
    for (const char* to : {"192.0.2.10:443", "192.0.2.10:9999", "[2001:db8::10]:443", "[::ffff:192.0.2.10]:443"}) {
      const int fd = udp_socket(to);
      if (connect_to(fd, to) != 0 || send_one(fd) != 0) return;
      report.error = receive_one(fd);
      if (report.error != ECONNREFUSED || send_one(fd) != 0 || receive_one(fd) != ECONNREFUSED) return;
      ++report.count;
    }
  });
  const Report report = client.report();
  EXPECT_EQ(report.error, ECONNREFUSED);
  EXPECT_EQ(report.count, 4);
  EXPECT_EQ(uncaptured(Uncaptured::Quic), 3U);
  EXPECT_EQ(uncaptured(Uncaptured::Udp), 1U);
  EXPECT_EQ(target_stats().refused_sealed, 4U);
  EXPECT_EQ(target_stats().refused_sealed_udp, 4U);
  ASSERT_TRUE(eventually([&] { return sink_.refusals().size() == 4; }));
  const Refusal first = sink_.refusals().front();
  EXPECT_EQ(first.destination, ep("192.0.2.10:443"));
  EXPECT_EQ(first.protocol, IPPROTO_UDP);
  EXPECT_EQ(first.pid, static_cast<uint32_t>(report.pid));
  EXPECT_NE(first.comm[0], '\0');
}

TEST_F(SealedSockets, OneSocketMayConnectAgainAndAgain) {
  lab::sh("ip -6 addr add fd00:8::7/64 dev up0 nodad");
  attach(kOpen);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const auto fails = [&report] {
      ++report.count;
      return true;
    };
    const int service = udp_socket("127.0.0.1:18080");
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("127.0.0.1:18080")->to_sockaddr(raw);
    if (::bind(service, reinterpret_cast<sockaddr*>(&raw), length) != 0 && fails()) return;
    const int fd = udp_socket("127.0.0.1:1");
    const sockaddr nowhere{AF_UNSPEC, {}};
    if (connect_to(fd, "192.0.2.10:443") != 0 && fails()) return;
    // A datagram to elsewhere leaves as it would have.
    report.error = send_to(fd, "x", 1, "198.18.1.9:9999");
    if (report.error != 0 && fails()) return;
    if (::connect(fd, &nowhere, sizeof(nowhere)) != 0 && fails()) return;
    if (name_of(fd, &::getpeername).family != Endpoint::Family::None && fails()) return;
    if (connect_to(fd, "127.0.0.1:18080") != 0 && fails()) return;
    report.peer = name_of(fd, &::getpeername);
    report.local = name_of(fd, &::getsockname);
    report.error = send_one(fd);
    if (report.error == 0) report.error = receive_one(service);
    if (report.error == 0) report.error = connect_to(fd, "192.0.2.11:443");
    if (report.error == 0) report.error = send_one(fd);
    if (report.error == 0 && receive_one(fd) != ECONNREFUSED) ++report.count;
    const int six = udp_socket("[::1]:1");
    if (connect_to(six, "[2001:db8::10]:443") != 0 && fails()) return;
    if (send_to(six, "x", 1, "[fd00:8::9]:9999") != 0 && fails()) return;
  });
  const Report report = client.report();
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(report.count, 0);
  EXPECT_EQ(report.peer, ep("127.0.0.1:18080"));
  EXPECT_EQ(report.local.ip(), "127.0.0.1");
}

TEST_F(SealedSockets, SocketsOlderThanTheSealEndWithIt) {
  Steps steps;
  Client client(cgroup_.path(), -1, [&](Report& report) {
    const int udp = udp_socket("192.0.2.10:9999");
    const int dns = udp_socket("127.0.0.53:53");
    const int raw = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    const int local = udp_socket("127.0.0.1:18080");
    if (connect_to(udp, "192.0.2.10:9999") != 0 || connect_to(dns, "127.0.0.53:53") != 0) return;
    if (connect_to(local, "127.0.0.1:18080") != 0 || send_one(udp) != 0) return;
    steps.reached(1);
    for (const int fd : {udp, udp, dns}) report.count += send_one(fd) == EPERM ? 1 : 0;
    std::array<unsigned char, 20> packet{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 0, 0, 0, 0, 192, 0, 2, 10};
    report.count += send_to(raw, packet.data(), packet.size(), "192.0.2.10:0") == EPERM ? 1 : 0;
    report.error = send_one(local);
  });
  ASSERT_TRUE(steps.wait_for(1));
  attach(kSealed);
  steps.go_on();
  const Report report = client.report();
  EXPECT_EQ(report.count, 4);
  EXPECT_EQ(report.error, 0) << "loopback";
  EXPECT_EQ(uncaptured(Uncaptured::Udp), 1U);
  EXPECT_EQ(uncaptured(Uncaptured::Dns), 1U);
  EXPECT_EQ(uncaptured(Uncaptured::Raw), 1U);
  const TargetStats stats = target_stats();
  EXPECT_EQ(stats.refused_sealed, 3U);
  EXPECT_EQ(stats.refused_sealed_udp, 1U);
  EXPECT_EQ(stats.refused_sealed_dns, 1U);
  EXPECT_EQ(stats.refused_sealed_other, 1U);
  ASSERT_TRUE(eventually([&] { return sink_.refusals().size() == 3; }));
  EXPECT_EQ(sink_.refusals().front().destination, ep("192.0.2.10:9999"));
}

TEST_F(SealedSockets, PingSocketsStayOnLoopback) {
  lab::sh("ip -6 addr add fd00:8::7/64 dev up0 nodad && ip -6 route add default via fd00:8::1");
  attach(kSealed);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const auto ping = [&report](int fd, unsigned char type, const char* away, const char* here) {
      icmphdr echo{};
      echo.type = type;
      report.count += send_to(fd, &echo, sizeof(echo), away) == EPERM ? 1 : 0;
      report.error = send_to(fd, &echo, sizeof(echo), here);
      if (report.error == 0) report.error = receive_one(fd);
      return report.error == 0;
    };
    const int four = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    const int six = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMPV6);
    if (ping(four, ICMP_ECHO, "192.0.2.10:0", "127.0.0.1:0")) ping(six, 128, "[2001:db8::10]:0", "[::1]:0");
  });
  const Report report = client.report();
  EXPECT_EQ(report.count, 1) << "an IPv6 ping is dropped too, but the kernel does not say so";
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(uncaptured(Uncaptured::Other), 2U);
  EXPECT_EQ(target_stats().refused_sealed_other, 2U);
  ASSERT_TRUE(eventually([&] { return sink_.refusals().size() == 2; }));
  EXPECT_EQ(sink_.refusals().front().pid, static_cast<uint32_t>(report.pid));
  EXPECT_EQ(sink_.refusals().front().protocol, IPPROTO_ICMP);
}

TEST_F(SealedSockets, PacketsAreLookedAtOnlyWhileTheTargetIsSealed) {
  attach(kOpen);
  Steps steps;
  Client client(cgroup_.path(), -1, [&](Report& report) {
    const int fd = udp_socket("192.0.2.10:9999");
    if (connect_to(fd, "192.0.2.10:9999") != 0) return;
    const auto send_at = [&](int step, int expected) {
      steps.reached(step);
      report.count += send_one(fd) == expected ? 1 : 0;
    };
    send_at(1, 0);
    send_at(2, EPERM);
    send_at(3, 0);
  });
  ASSERT_TRUE(steps.wait_for(1));
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms);
  steps.go_on();
  ASSERT_TRUE(steps.wait_for(2));
  ASSERT_TRUE(capture_->set_policy(kSlot, kSealed));
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms + kFilters);
  steps.go_on();
  ASSERT_TRUE(steps.wait_for(3));
  ASSERT_TRUE(capture_->set_policy(kSlot, kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms);
  steps.go_on();
  EXPECT_EQ(client.report().count, 3);
}

TEST_F(SealedSockets, StaySealedWhenTheDaemonGoesUntilTheyAreCleaned) {
  attach(kSealed);
  Steps steps;
  Client client(cgroup_.path(), -1, [&](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    icmphdr echo{};
    echo.type = ICMP_ECHO;
    steps.reached(1);
    report.count = send_to(fd, &echo, sizeof(echo), "192.0.2.10:0");
    steps.reached(2);
    report.error = send_to(fd, &echo, sizeof(echo), "192.0.2.10:0");
  });
  ASSERT_TRUE(steps.wait_for(1));
  capture_->keep_closed();
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms + kFilters);
  steps.go_on();
  ASSERT_TRUE(steps.wait_for(2));
  ASSERT_TRUE(clean_leftovers(options_.run_dir));
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  steps.go_on();
  const Report report = client.report();
  EXPECT_EQ(report.count, EPERM);
  EXPECT_EQ(report.error, 0);
}

TEST_F(SealedSockets, NamespacesThatASealedProcessMakesFindTheirNeighbours) {
  attach(kSealed);
  // The kernel's own sockets of a namespace are in the cgroup of who made it. It counts what was really sent: 135 is a
  // neighbour solicitation, 143 a multicast report.
  Client client(cgroup_.path(), -1, [](Report& report) {
    const char* script =
        "ip link add via0 type veth peer name via1 && ip link set via0 up && ip link set via1 up || exit 1;"
        "for i in $(seq 100); do"
        "  grep -q Icmp6OutType135 /proc/net/snmp6 && grep -q Icmp6OutType143 /proc/net/snmp6 && exit 0; sleep 0.1;"
        "done; exit 2";
    const pid_t child = ::fork();
    if (child == 0) {
      ::execlp("unshare", "unshare", "-n", "sh", "-c", script, nullptr);
      ::_exit(127);
    }
    if (::waitpid(child, &report.error, 0) != child) report.error = errno;
  });
  EXPECT_EQ(client.report().error, 0);
  expect_nothing_counted();
}

}  // namespace
}  // namespace tapdeck::kernel

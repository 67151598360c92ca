// The tc program, packet by packet, with BPF_PROG_TEST_RUN: packet and state in, verdict, mark and counter out. In a
// test run bpf_sk_assign always answers -EOPNOTSUPP, so "would capture" shows as TAPDECK_ASSIGN_FAILED; the assignment
// itself is tested in daemon/kernel/netns. Also: both skeletons open without any privilege.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "bpf/tapdeck_cgroup.skel.h"
#include "bpf/tapdeck_tc.skel.h"
#include "bpf/tc_run_rig.h"

namespace tapdeck::bpf_test {
namespace {

TEST(Skeletons, OpenWithoutPrivileges) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(1);
    tapdeck_cgroup* cgroup = tapdeck_cgroup__open();
    tapdeck_tc* tc = tapdeck_tc__open();
    ::_exit(cgroup != nullptr && tc != nullptr ? 0 : 2);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

const std::vector<uint32_t> kWouldCapture = {TAPDECK_ASSIGN_FAILED, TAPDECK_NO_LISTENER};

TEST_F(TcProgramRun, Table) {
  const Case cases[] = {
      {.description = "no target in the slot: untouched", .packet = tcp4(kSyn), .policy = Policy::Inactive},
      {.description = "our own mark: untouched", .packet = tcp4(kSyn), .mark_in = kMark},
      {.description = "ARP", .packet = eth(kArp).icmp(0)},
      {.description = "IPv4 SYN would be captured", .packet = tcp4(kSyn), .counted = kWouldCapture},
      {.description = "IPv6 SYN would be captured",
       .packet = v6(IPPROTO_TCP).tcp(40000, 443, kSyn),
       .counted = kWouldCapture},
      {.description = "SYN behind IPv4 options",
       .packet = eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_TCP, 10).tcp(40000, 443, kSyn),
       .counted = kWouldCapture},
      {.description = "SYN behind two IPv6 extension headers",
       .packet = v6(IPPROTO_HOPOPTS).extension(IPPROTO_DSTOPTS).extension(IPPROTO_TCP).tcp(40000, 443, kSyn),
       .counted = kWouldCapture},
      {.description = "SYN in a VLAN",
       .packet = eth(kVlan).vlan(7, kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_TCP).tcp(40000, 443, kSyn),
       .counted = kWouldCapture},
      {.description = "no listener, open",
       .packet = tcp4(kSyn),
       .listener = Listener::No,
       .counted = {TAPDECK_NO_LISTENER}},
      {.description = "no listener, closed",
       .packet = tcp4(kSyn),
       .policy = Policy::Closed,
       .listener = Listener::No,
       .verdict = kDrop,
       .counted = {TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER}},
      {.description = "lease past, open", .packet = tcp4(kSyn), .lease = Lease::Past, .counted = {TAPDECK_LEASE}},
      {.description = "lease past, closed",
       .packet = tcp4(kSyn),
       .policy = Policy::Closed,
       .lease = Lease::Past,
       .verdict = kDrop,
       .counted = {TAPDECK_LEASE, TAPDECK_REFUSED_LEASE}},
      {.description = "SYN-ACK answers an inbound connection", .packet = tcp4(kSyn | kAck), .policy = Policy::Sealed},
      {.description = "RST", .packet = tcp4(kRst), .policy = Policy::Sealed},
      {.description = "ACK of a connection older than the attach",
       .packet = tcp4(kAck),
       .counted = {TAPDECK_PRE_EXISTING}},
      {.description = "the same, sealed",
       .packet = tcp4(kAck),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_PRE_EXISTING, TAPDECK_REFUSED_SEALED}},
      {.description = "UDP", .packet = udp4(9999), .counted = {TAPDECK_UDP}},
      {.description = "DNS", .packet = udp4(53), .counted = {TAPDECK_DNS}},
      {.description = "DNS, sealed",
       .packet = udp4(53),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_DNS, TAPDECK_REFUSED_SEALED, TAPDECK_REFUSED_SEALED_DNS}},
      {.description = "DNS that is answered, without a door",
       .packet = udp4(53),
       .counted = {TAPDECK_DNS},
       .names = TAPDECK_NAMES_ANSWERED},
      {.description = "the same, sealed",
       .packet = udp4(53),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_DNS, TAPDECK_REFUSED_SEALED, TAPDECK_REFUSED_SEALED_DNS},
       .names = TAPDECK_NAMES_ANSWERED},
      {.description = "other UDP, sealed",
       .packet = udp4(9999),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_UDP, TAPDECK_REFUSED_SEALED, TAPDECK_REFUSED_SEALED_UDP}},
      {.description = "DHCP, sealed", .packet = udp4(67), .policy = Policy::Sealed},
      {.description = "QUIC", .packet = udp4(443), .verdict = kDrop, .counted = {TAPDECK_QUIC}},
      {.description = "QUIC over IPv6",
       .packet = v6(IPPROTO_UDP).udp(40000, 443),
       .verdict = kDrop,
       .counted = {TAPDECK_QUIC}},
      {.description = "QUIC, sealed",
       .packet = udp4(443),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_QUIC, TAPDECK_REFUSED_SEALED, TAPDECK_REFUSED_SEALED_UDP}},
      {.description = "QUIC, lease past: passes as TCP does",
       .packet = udp4(443),
       .lease = Lease::Past,
       .counted = {TAPDECK_LEASE}},
      {.description = "QUIC, lease past, closed",
       .packet = udp4(443),
       .policy = Policy::Closed,
       .lease = Lease::Past,
       .verdict = kDrop,
       .counted = {TAPDECK_QUIC}},
      {.description = "ping",
       .packet = eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_ICMP).icmp(8),
       .counted = {TAPDECK_OTHER}},
      {.description = "neighbour solicitation, sealed",
       .packet = v6(IPPROTO_ICMPV6).icmp(135),
       .policy = Policy::Sealed},
      {.description = "ping over IPv6, sealed",
       .packet = v6(IPPROTO_ICMPV6).icmp(128),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_OTHER, TAPDECK_REFUSED_SEALED, TAPDECK_REFUSED_SEALED_OTHER}},
      {.description = "first fragment",
       .packet = eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_TCP, 0, 0x2000).tcp(40000, 443, kSyn),
       .counted = {TAPDECK_FRAGMENT}},
      {.description = "later fragment, sealed",
       .packet = eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_TCP, 0, 0x0010).icmp(0),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_FRAGMENT, TAPDECK_REFUSED_SEALED}},
      {.description = "IPv6 fragment",
       .packet = v6(IPPROTO_FRAGMENT).extension(IPPROTO_TCP).icmp(0),
       .counted = {TAPDECK_FRAGMENT}},
      {.description = "extension chain without end",
       .packet = v6(0).extension(0).extension(0).extension(0).extension(0).extension(0).extension(0).extension(0),
       .counted = {TAPDECK_FRAGMENT}},
      {.description = "TCP to a link-local address",
       .packet = eth(kIp6).ip6("fe80::2", "fe80::1", IPPROTO_TCP).tcp(40000, 443, kSyn),
       .counted = {TAPDECK_BOUND_DEVICE}},
      {.description = "a service of this host",
       .packet = tcp4(kSyn),
       .counted = {TAPDECK_TO_HOST},
       .host = Host::Service},
      {.description = "the same over IPv6",
       .packet = v6(IPPROTO_TCP).tcp(40000, 443, kSyn),
       .counted = {TAPDECK_TO_HOST},
       .host = Host::Service},
      {.description = "the same, closed, without a daemon",
       .packet = tcp4(kSyn),
       .policy = Policy::Closed,
       .lease = Lease::Past,
       .counted = {TAPDECK_TO_HOST},
       .host = Host::Service},
      {.description = "the same, sealed",
       .packet = tcp4(kSyn),
       .policy = Policy::Sealed,
       .verdict = kDrop,
       .counted = {TAPDECK_TO_HOST, TAPDECK_REFUSED_SEALED},
       .host = Host::Service},
      {.description = "an address of this host where nobody listens: a port it forwards",
       .packet = tcp4(kSyn),
       .counted = kWouldCapture,
       .host = Host::Address},
      {.description = "elsewhere, to a port that somebody here listens on",
       .packet = tcp4(kSyn),
       .counted = kWouldCapture,
       .host = Host::Socket},
      {.description = "marked packets go elsewhere: passes",
       .packet = tcp4(kSyn),
       .counted = {TAPDECK_NO_LISTENER},
       .steered = Steered::No},
      {.description = "the same, closed",
       .packet = tcp4(kSyn),
       .policy = Policy::Closed,
       .verdict = kDrop,
       .counted = {TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER},
       .steered = Steered::No},
      {.description = "QUIC, where marked packets go elsewhere: passes as TCP does",
       .packet = udp4(443),
       .counted = {TAPDECK_NO_LISTENER},
       .steered = Steered::No},
      {.description = "the same, closed",
       .packet = udp4(443),
       .policy = Policy::Closed,
       .verdict = kDrop,
       .counted = {TAPDECK_QUIC},
       .steered = Steered::No},
      {.description = "IPv4 header length below 20",
       .packet = eth(kIp4).ip4("198.18.1.2", "198.18.2.2", 6, 0xfe).cut(60)},
      {.description = "truncated TCP header", .packet = tcp4(kSyn).cut(40)},
      {.description = "truncated UDP header", .packet = udp4(53).cut(40)},
      {.description = "truncated extension header", .packet = v6(IPPROTO_HOPOPTS).cut(54)},
  };
  for (const Case& one : cases) run(one);
}

// Packets of a flow we accepted carry the steering mark; those of another local socket are left alone.
void established_flow(uint32_t listener_mark, int verdict, uint32_t mark_out,
                      const tapdeck_target& target = {
                          .active = 1, .closed = 0, .sealed = 0, .refuses = 0, .unsteered = 0, .names = 0}) {
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::ioctl(control, SIOCSIFFLAGS, &request), 0);
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::setsockopt(listener, SOL_SOCKET, SO_MARK, &listener_mark, sizeof(listener_mark)), 0);
    ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&server), sizeof(server)), 0);
    ASSERT_EQ(::listen(listener, 1), 0);
    socklen_t length = sizeof(server);
    ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&server), &length), 0);
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&server), sizeof(server)), 0);
    sockaddr_in from{};
    ASSERT_EQ(::getsockname(client, reinterpret_cast<sockaddr*>(&from), &length), 0);

    tapdeck_tc* tc = tapdeck_tc__open();
    ASSERT_NE(tc, nullptr);
    tc->rodata->target_slot = kSlot;
    tc->rodata->own_mark = kMark;
    ASSERT_EQ(tapdeck_tc__load(tc), 0);
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(tc->maps.targets), &kSlot, &target, BPF_ANY), 0);
    const auto packet = PacketBuilder()
                            .eth(kIp4)
                            .ip4("127.0.0.1", "127.0.0.1", IPPROTO_TCP)
                            .tcp(ntohs(from.sin_port), ntohs(server.sin_port), kAck);
    __sk_buff context_out{};
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = packet.bytes().data();
    options.data_size_in = static_cast<__u32>(packet.bytes().size());
    options.ctx_out = &context_out;
    options.ctx_size_out = sizeof(context_out);
    ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(tc->progs.tapdeck_ingress), &options), 0);
    EXPECT_EQ(static_cast<int>(options.retval), verdict);
    EXPECT_EQ(context_out.mark, mark_out);
    tapdeck_tc__destroy(tc);
    for (const int fd : {control, listener, client}) ::close(fd);
  }).join();
}

TEST_F(TcProgramRun, PacketOfAFlowWeAcceptedIsSteered) {
  established_flow(kMark, kOurs, kMark + 1);
}

TEST_F(TcProgramRun, PacketOfAFlowWeAcceptedPassesWhereItCannotBeSteeredAndIsDroppedWhenClosed) {
  established_flow(kMark, kPass, 0, {.active = 1, .closed = 0, .sealed = 0, .refuses = 0, .unsteered = 1, .names = 0});
  established_flow(kMark, kDrop, 0, {.active = 1, .closed = 1, .sealed = 0, .refuses = 0, .unsteered = 1, .names = 0});
}

TEST_F(TcProgramRun, PacketOfAnotherLocalSocketIsLeftAlone) {
  established_flow(0, kPass, 0);
}

}  // namespace
}  // namespace tapdeck::bpf_test

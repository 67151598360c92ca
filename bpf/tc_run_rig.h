// TcProgramRun: the tc program on one packet: fresh maps, a network namespace of its own, BPF_PROG_TEST_RUN. What it is
// given and what is expected of it is a Case. Header only, tests only.
#pragma once

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "bpf/packet_builder.h"
#include "bpf/shared.h"
#include "bpf/tapdeck_tc.skel.h"

namespace tapdeck::bpf_test {

inline constexpr uint32_t kSlot = 3;
inline constexpr uint32_t kMark = 0x100;
inline constexpr int kPass = TC_ACT_UNSPEC;
inline constexpr int kOurs = TC_ACT_OK;
inline constexpr int kDrop = TC_ACT_SHOT;
inline constexpr uint16_t kIp4 = 0x0800, kIp6 = 0x86dd, kVlan = 0x8100, kArp = 0x0806;

enum class Policy { Inactive, Open, Closed, Sealed };
enum class Lease { Valid, Past };
enum class Listener { Yes, No };
enum class Steered { Yes, No };
// What of the destination 198.18.2.2 or fd00:2::2, port 443, is this host's: the address, a socket that listens on
// every address, or both.
enum class Host { None, Address, Socket, Service };

struct Case {
  const char* description;
  PacketBuilder packet;
  Policy policy = Policy::Open;
  Lease lease = Lease::Valid;
  Listener listener = Listener::Yes;
  uint32_t mark_in = 0;
  int verdict = kPass;
  uint32_t mark_out = 0;
  std::vector<uint32_t> counted = {};  // exactly these counters are 1 afterwards
  Host host = Host::None;
  Steered steered = Steered::Yes;
  tapdeck_names names = TAPDECK_NAMES_LEFT;
};

inline PacketBuilder eth(uint16_t type) {
  return PacketBuilder().eth(type);
}
inline PacketBuilder tcp4(uint8_t flags) {
  return eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_TCP).tcp(40000, 443, flags);
}
inline PacketBuilder udp4(uint16_t port) {
  return eth(kIp4).ip4("198.18.1.2", "198.18.2.2", IPPROTO_UDP).udp(40000, port);
}
inline PacketBuilder v6(uint8_t next) {
  return eth(kIp6).ip6("fd00:1::2", "fd00:2::2", next);
}

class TcProgramRun : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: loading BPF needs root";
  }

  // Runs `one` with fresh maps, on a thread in a namespace of its own: socket lookups must not see the host's.
  static void run(const Case& one) {
    std::thread([&] {
      SCOPED_TRACE(one.description);
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      run_inside(one);
    }).join();
  }

  static void loopback_up() {
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::ioctl(fd, SIOCSIFFLAGS, &request), 0);
    ::close(fd);
  }

  static int make_listener(uint32_t mark, sockaddr_in& address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(fd, 8), 0);
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return fd;
  }

  static int listen_everywhere() {
    const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(443);
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
    EXPECT_EQ(::listen(fd, 8), 0);
    return fd;
  }

  static void put_host_addresses(tapdeck_tc* tc) {
    for (const char* text : {"::ffff:198.18.2.2", "fd00:2::2"}) {
      tapdeck_address address{};
      ::inet_pton(AF_INET6, text, address.bytes);
      const uint32_t yes = 1;
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(tc->maps.host_addresses), &address, &yes, BPF_ANY), 0);
    }
  }

  static tapdeck_tc* load(const Case& one) {
    tapdeck_tc* tc = tapdeck_tc__open();
    if (tc == nullptr) return nullptr;
    tc->rodata->target_slot = kSlot;
    tc->rodata->own_mark = kMark;
    if (tapdeck_tc__load(tc) != 0) return nullptr;
    const uint32_t zero = 0;
    tapdeck_control control{};
    control.deadline_ns = one.lease == Lease::Valid ? ~0ULL : 1;
    tapdeck_target target{};
    target.active = one.policy != Policy::Inactive;
    target.closed = one.policy == Policy::Closed || one.policy == Policy::Sealed;
    target.sealed = one.policy == Policy::Sealed;
    target.unsteered = one.steered == Steered::No;
    target.names = one.names;
    bpf_map_update_elem(bpf_map__fd(tc->maps.control), &zero, &control, BPF_ANY);
    bpf_map_update_elem(bpf_map__fd(tc->maps.targets), &kSlot, &target, BPF_ANY);
    return tc;
  }

  static void put_listeners(tapdeck_tc* tc, int fd) {
    for (const uint32_t v6_index : {0U, 1U}) {
      const uint32_t index = (kSlot * 2 + v6_index) * TAPDECK_MAX_WORKERS;
      const auto value = static_cast<uint64_t>(fd);
      ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(tc->maps.tc_listeners), &index, &value, BPF_ANY), 0);
    }
  }

  static void test_run(tapdeck_tc* tc, const Case& one) {
    __sk_buff context{};
    context.mark = one.mark_in;
    __sk_buff context_out{};
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = one.packet.bytes().data();
    options.data_size_in = static_cast<__u32>(one.packet.bytes().size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.ctx_out = &context_out;
    options.ctx_size_out = sizeof(context_out);
    ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(tc->progs.tapdeck_ingress), &options), 0) << std::strerror(errno);
    EXPECT_EQ(static_cast<int>(options.retval), one.verdict);
    EXPECT_EQ(context_out.mark, one.mark_out == 0 ? one.mark_in : one.mark_out);
  }

  static void expect_counters(tapdeck_tc* tc, const std::vector<uint32_t>& expected) {
    std::vector<tapdeck_counters> each(static_cast<size_t>(libbpf_num_possible_cpus()));
    ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(tc->maps.counters), &kSlot, each.data()), 0);
    for (uint32_t i = 0; i < TAPDECK_COUNTS; ++i) {
      uint64_t sum = 0;
      for (const auto& cpu : each) sum += cpu.count[i];
      const auto wanted = static_cast<uint64_t>(std::count(expected.begin(), expected.end(), i));
      EXPECT_EQ(sum, wanted) << "counter " << i;
    }
  }

  static void run_inside(const Case& one) {
    loopback_up();
    sockaddr_in address{};
    const int listener = make_listener(kMark, address);
    tapdeck_tc* tc = load(one);
    ASSERT_NE(tc, nullptr) << std::strerror(errno);
    if (one.listener == Listener::Yes) put_listeners(tc, listener);
    if (one.host == Host::Address || one.host == Host::Service) put_host_addresses(tc);
    const int service = one.host == Host::Socket || one.host == Host::Service ? listen_everywhere() : -1;
    test_run(tc, one);
    expect_counters(tc, one.counted);
    tapdeck_tc__destroy(tc);
    ::close(listener);
    ::close(service);
  }
};

}  // namespace tapdeck::bpf_test

// Targets, namespaces and daemons that come and go; what each leaves behind.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

TEST_F(CgroupCapture, NamespaceThatAppearsLaterGetsListeners) {
  attach(kClosed);
  lab::SideNetns late;
  // Refused until the daemon has answered the first connect, which asked for listeners.
  std::vector<std::unique_ptr<Client>> clients;
  int error = -1;
  ASSERT_TRUE(eventually([&] {
    clients.push_back(std::make_unique<Client>(cgroup_.path(), late.fd(), connects({.to = ep("192.0.2.9:443")})));
    error = clients.back()->report().error;
    return error != ECONNREFUSED;
  }));
  ASSERT_EQ(error, 0) << std::strerror(error);
  const auto accepted = sink_.accept();
  ASSERT_TRUE(accepted.fd);
  const auto flow = capture_->resolve(accepted.key, accepted.client, accepted.local);
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->original_destination, ep("192.0.2.9:443"));
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), target_stats().refused_no_listener);
}

TEST_F(CgroupCapture, EmptyCgroupKeepsTheListenersOfTheDaemonsNamespaceOnly) {
  lab::SideNetns other;
  auto there = std::make_unique<Client>(cgroup_.path(), other.fd(), [](Report&) {});
  (void)there->report();
  attach(kOpen);
  EXPECT_EQ(capture_->stats().namespaces, 2U);
  EXPECT_EQ(capture_->stats().listeners, 16U) << "three a family suffice, rounded up to two workers";
  there.reset();
  resident_.reset();
  EXPECT_TRUE(eventually([&] { return capture_->stats().listeners == 8; })) << "after the grace time";
  EXPECT_EQ(capture_->stats().namespaces, 1U);
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_TRUE(sink_.addresses().empty());
}

TEST_F(CgroupCapture, ANamespaceThatGetsFewerEphemeralPortsGetsMoreListeners) {
  lab::SideNetns other;
  const Client there(cgroup_.path(), other.fd(), [](Report&) {});
  attach(kOpen);
  ASSERT_EQ(capture_->stats().listeners, 16U);
  lab::sh(other.prefix() + "sysctl -qw net.ipv4.ip_local_port_range='40000 41999'");
  EXPECT_TRUE(eventually([&] { return capture_->stats().listeners == 8 + 80; })) << capture_->stats().listeners;
  expect_captured({.to = ep("192.0.2.10:443")});
}

TEST_F(CgroupCapture, FirstProcessOfAnEmptyCgroupIsCapturedInTheDaemonsNamespace) {
  start();
  ASSERT_NE(capture_, nullptr);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kOpen));
  expect_captured({.to = ep("192.0.2.10:443")});
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), 0U);
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_TRUE(sink_.addresses().empty());
}

TEST_F(CgroupCapture, TargetThatComesBackIsAttachedAgain) {
  attach(kOpen);
  resident_.reset();
  cgroup_.remove();
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 1; }));
  EXPECT_FALSE(target_stats().attached);
  cgroup_.make();
  ASSERT_TRUE(eventually([&] { return sink_.back() == 1; }));
  capture_->renew_lease();
  expect_captured({.to = ep("192.0.2.10:443")});
}

// Places that the kernel watches for this process.
int inotify_watches() {
  return std::stoi(lab::output_of("cat /proc/" + std::to_string(::getpid()) + "/fdinfo/* | grep -c '^inotify wd'"));
}

TEST_F(CgroupCapture, WhereATargetMayComeBackIsWatchedOnlyWhileItIsAwaited) {
  lab::TestCgroup other;
  attach(kOpen);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot + 1, other.path(), kOpen));
  resident_.reset();
  const int before = inotify_watches();
  cgroup_.remove();
  other.remove();
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 2; }));
  cgroup_.make();
  ASSERT_TRUE(eventually([&] { return sink_.back() == 1; }));
  const int one_is_back = inotify_watches();
  other.make();
  ASSERT_TRUE(eventually([&] { return sink_.back() == 2; }));
  EXPECT_TRUE(eventually([&] { return inotify_watches() == before; })) << inotify_watches() << ", was " << before;
  EXPECT_LT(one_is_back, before) << "the second's directories are gone";
  other.remove();
  ASSERT_TRUE(eventually([&] { return sink_.gone() == 3; }));
  ASSERT_TRUE(capture_->detach(kSlot + 1));
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(inotify_watches(), 0) << "nor after a detach";
}

TEST_F(CgroupCapture, DetachReleasesTheSlotAndAttachingTwiceReplaces) {
  attach(kOpen);
  const int programs = cgroup_.attached_programs();
  EXPECT_EQ(programs, kPrograms);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), programs);
  expect_captured({.to = ep("192.0.2.10:443")});
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(capture_->detach(kSlot).error().code, Code::NotFound);
  EXPECT_EQ(capture_->attach_cgroup(kSlot, "/tmp", kOpen).error().code, Code::InvalidArgument);
  EXPECT_EQ(capture_->attach_cgroup(99, cgroup_.path(), kOpen).error().code, Code::InvalidArgument);
}

TEST_F(CgroupCapture, DestructorLeavesNothingBehind) {
  attach(kClosed);
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms);
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_TRUE(sink_.addresses().empty());
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
  EXPECT_EQ(lab::output_of("grep " + directory_.path() + " /proc/self/mounts"), "");
}

TEST_F(CgroupCapture, KeepClosedGoesOnRefusingUntilLeftoversAreCleaned) {
  attach(kClosed);
  capture_->keep_closed();
  capture_.reset();
  Client client(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  EXPECT_EQ(client.report().error, ECONNREFUSED);
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

// A capture of another run directory, as of another daemon.
class TwoCaptures : public CgroupCapture {
 protected:
  void SetUp() override {
    CgroupCapture::SetUp();
    if (IsSkipped()) return;
    options_.run_dir = other_directory_.path();
    auto made = Capture::create(options_, other_sink_);
    ASSERT_TRUE(made) << made.error().message();
    other_ = std::move(*made);
    options_.run_dir = directory_.path();
  }
  std::string others(uint32_t slot) {
    for (const TargetStats& one : capture_->stats().targets) {
      if (one.target == slot) return one.others;
    }
    return "not attached";
  }
  TestDirectory other_directory_;
  lab::Sink other_sink_;
  std::unique_ptr<Capture> other_;
};

TEST_F(TwoCaptures, OfOneCgroupOnlyTheFirstIsAttachedAndTheSecondSaysWhoHasIt) {
  attach(kOpen);
  const auto second = other_->attach_cgroup(kSlot, cgroup_.path(), kSealed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::Busy);
  EXPECT_NE(second.error().detail.find("pid " + std::to_string(::getpid()) + " "), std::string::npos)
      << second.error().detail;
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms) << "the first one's";
  expect_captured({.to = ep("192.0.2.10:443")});
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_TRUE(other_->attach_cgroup(kSlot, cgroup_.path(), kSealed));
}

TEST_F(TwoCaptures, ACgroupThatComesBackIsLeftToWhoTookItMeanwhile) {
  std::promise<void> both_gone, go;
  sink_.when_gone = [&](int times) {
    if (times != 2) return;
    both_gone.set_value();
    go.get_future().wait();
  };
  attach(kOpen);
  lab::TestCgroup next;  // in a slot behind: when it is back, the first was looked at
  ASSERT_TRUE(capture_->attach_cgroup(kSlot + 1, next.path(), kOpen));
  resident_.reset();
  cgroup_.remove();
  next.remove();
  both_gone.get_future().wait();
  cgroup_.make();
  const auto taken = other_->attach_cgroup(kSlot, cgroup_.path(), kOpen);
  next.make();
  go.set_value();
  ASSERT_TRUE(taken) << taken.error().message();
  ASSERT_TRUE(eventually([&] { return sink_.back() > 0; }));
  EXPECT_FALSE(target_stats().attached);
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms) << "the other's";
  ASSERT_TRUE(other_->detach(kSlot));
  EXPECT_TRUE(eventually([&] { return sink_.back() == 2; }));
}

// Whoever renews may not wait for the control thread, which may be loading programs.
TEST_F(TwoCaptures, WhatALapseLetPassIsKnownWhileTheControlThreadIsBusy) {
  struct Gate {
    std::promise<void> is_busy, go;
    bool is_first = true;
  };
  const auto gate = std::make_shared<Gate>();  // the control thread may leave it after the test
  sink_.when_gone = [gate](int) {
    if (!std::exchange(gate->is_first, false)) return;
    gate->is_busy.set_value();
    gate->go.get_future().wait();
  };
  attach(kOpen);
  resident_.reset();
  cgroup_.remove();
  gate->is_busy.get_future().wait();
  EXPECT_EQ(capture_->renew_lease(), LeaseWas::Kept);
  EXPECT_EQ(capture_->lapsed_flows(), 0U);
  gate->go.set_value();
  cgroup_.make();
}

TEST_F(TwoCaptures, AtDifferentHeightsBothAreAttachedAndSayWhoSeesWhat) {
  const std::string inner = cgroup_.path() + "/inner";
  lab::sh("mkdir " + inner);
  ASSERT_TRUE(other_->attach_cgroup(kSlot, inner, kOpen));
  attach(kOpen);
  EXPECT_NE(others(kSlot).find("captures " + inner + ": what runs there is not seen here"), std::string::npos)
      << others(kSlot);
  const std::string innermost = inner + "/most";
  lab::sh("mkdir " + innermost);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot + 1, innermost, kOpen));
  EXPECT_NE(others(kSlot + 1).find("captures " + inner + " above"), std::string::npos) << others(kSlot + 1);
  capture_.reset();
  other_.reset();
  EXPECT_TRUE(eventually([&] { return ::rmdir(innermost.c_str()) == 0 && ::rmdir(inner.c_str()) == 0; }));
}

// As systemd does for IPAddressDeny=.
TEST_F(CgroupCapture, APacketFilterOfSomebodyElseIsTold) {
  const bpf_insn allow_all[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  const UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "sd_fw_egress", "GPL", allow_all, 2, nullptr));
  const UniqueFd directory(::open(cgroup_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(program);
  ASSERT_EQ(bpf_prog_attach(program.get(), directory.get(), BPF_CGROUP_INET_EGRESS, BPF_F_ALLOW_MULTI), 0);
  attach(kSealed);
  EXPECT_TRUE(target_stats().others.starts_with("its packets may be filtered (sd_fw_egress): "))
      << target_stats().others;
  ASSERT_EQ(bpf_prog_detach2(program.get(), directory.get(), BPF_CGROUP_INET_EGRESS), 0);
  capture_.reset();
  attach(kSealed);
  EXPECT_EQ(target_stats().others, "") << "our own filter is none";
}

TEST_F(CgroupCapture, ConnectionsOlderThanTheAttachAreCounted) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  Client early(cgroup_.path(), -1, [](Report& report) {
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.1:18080")->to_sockaddr(raw);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    report.error = ::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == 0 ? 0 : errno;
  });
  ASSERT_EQ(early.report().error, 0);
  Client outside("", -1, connects({.to = ep("198.18.0.1:18080")}));
  ASSERT_EQ(outside.report().error, 0);
  attach(kOpen);
  EXPECT_EQ(uncaptured(Uncaptured::PreExisting), 1U);
}

// A process of its own owns the capture and is killed. `policy` decides what is left.
class KilledOwner : public CgroupCapture {
 protected:
  void own_and_die(TargetPolicy policy) {
    resident_ = std::make_unique<Client>(cgroup_.path(), -1, [](Report&) {});
    (void)resident_->report();
    Client owner("", -1, [&](Report& report) {
      auto made = Capture::create(options_, sink_);
      report.error = made && (*made)->attach_cgroup(kSlot, cgroup_.path(), policy) ? 0 : EIO;
      if (made) (*made)->renew_lease();
      if (made) (void)made->release();  // outlives this function; only SIGKILL ends it
    });
    ASSERT_EQ(owner.report().error, 0);
    EXPECT_EQ(cgroup_.attached_programs(), kPrograms);
    EXPECT_EQ(clean_leftovers(directory_.path()).error().code, Code::Busy) << "its owner is alive";
    owner.kill_and_wait();
  }
};

TEST_F(KilledOwner, OpenTargetIsFreeAtOnce) {
  own_and_die(kOpen);
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }));
  EXPECT_TRUE(clean_leftovers(directory_.path()));
}

TEST_F(KilledOwner, ClosedTargetRefusesUntilLeftoversAreCleaned) {
  lab::sh("ip addr add 198.18.0.1/32 dev lo");
  const auto origin = lab::listen_on(ep("198.18.0.1:18080"));
  own_and_die(kClosed);
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms);
  Client client(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(client.report().error, ECONNREFUSED);
  ASSERT_TRUE(clean_leftovers(directory_.path()));
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }));
  EXPECT_EQ(lab::output_of("grep " + directory_.path() + " /proc/self/mounts"), "");
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
  Client after(cgroup_.path(), -1, connects({.to = ep("198.18.0.1:18080")}));
  EXPECT_EQ(after.report().error, 0);
}

TEST_F(KilledOwner, ClosedTargetHasNoOpenMomentUntilItsSuccessorAttaches) {
  own_and_die(kClosed);
  start();
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms) << "kept by the successor";
  Client refused(cgroup_.path(), -1, connects({.to = ep("192.0.2.10:443")}));
  EXPECT_EQ(refused.report().error, ECONNREFUSED);
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms) << "the predecessor's are gone";
  capture_->renew_lease();
  expect_captured({.to = ep("192.0.2.10:443")});
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), 0);
  EXPECT_EQ(lab::output_of("ls -A " + directory_.path()), "");
}

// In a container every daemon is pid 1.
TEST_F(KilledOwner, APredecessorOfTheSamePidIsNotInTheWayOfItsSuccessorsPins) {
  own_and_die(kClosed);
  std::string pins;
  std::getline(std::ifstream(directory_.path() + "/kernel/pins"), pins);
  ASSERT_FALSE(pins.empty());
  const std::string ours = "/" + std::to_string(::getpid()) + "-";
  for (const auto& pin : std::filesystem::directory_iterator(pins)) {
    const std::string name = pin.path().filename();
    if (name.find('-') == std::string::npos) continue;
    std::filesystem::rename(pin.path(), pins + ours + name.substr(name.find('-') + 1));
  }
  start();
  ASSERT_TRUE(capture_->attach_cgroup(kSlot, cgroup_.path(), kClosed));
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms) << "the predecessor's are gone";
}

TEST_F(KilledOwner, ClosedTargetNobodyAttachesAgainIsFreedByItself) {
  own_and_die(kClosed);
  start();
  EXPECT_TRUE(eventually(std::chrono::seconds(8), [&] { return cgroup_.attached_programs() == 0; }));
}

}  // namespace
}  // namespace tapdeck::kernel

// Network namespaces that begin and end while their target's cgroup stays in use, as those of containers do.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

// Into a namespace of its own, with lo up. No internet socket: one would make the programs ask for listeners.
void move_to_new_netns(Report& report) {
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool moved = ::unshare(CLONE_NEWNET) == 0;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  report.error = moved && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
}

class NamespacesBelow : public CgroupCapture {
 protected:
  ~NamespacesBelow() override {
    resident_.reset();
    client_.reset();
    if (!child_.empty()) EXPECT_TRUE(eventually([&] { return ::rmdir(child_.c_str()) == 0; }));
  }
  void make_child() {
    child_ = cgroup_.path() + "/child";
    lab::sh("mkdir " + child_);
  }
  bool namespaces_become(uint64_t count) {
    return eventually([&] { return capture_->stats().namespaces == count; });
  }

  std::string child_;
  std::unique_ptr<Client> client_;
};

TEST_F(NamespacesBelow, OneOfANewChildHasListenersBeforeAnybodyAsks) {
  attach(kClosed);
  make_child();
  client_ = std::make_unique<Client>(child_, -1, move_to_new_netns);
  ASSERT_EQ(client_->report().error, 0);
  ASSERT_TRUE(namespaces_become(2));
  const auto there = open_netns_of(client_->pid());
  ASSERT_TRUE(there);
  Client first(child_, there->get(), connects({.to = ep("192.0.2.9:443")}));
  EXPECT_EQ(first.report().error, 0);
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), 0U);
}

TEST_F(NamespacesBelow, OneOfAProcessThatWasThereAtTheAttachIsFound) {
  attach(kClosed);
  client_ = std::make_unique<Client>(cgroup_.path(), -1, [](Report& report) { move_to_new_netns(report); });
  ASSERT_EQ(client_->report().error, 0);
  EXPECT_TRUE(namespaces_become(2));
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), 0U);
}

TEST_F(NamespacesBelow, OneThatGetsItsIPv6LoopbackLaterGetsListenersThereLater) {
  lab::SideNetns other;
  lab::sh(other.prefix() + "ip -6 addr del ::1/128 dev lo");
  client_ = std::make_unique<Client>(cgroup_.path(), other.fd(), [](Report&) {});
  (void)client_->report();
  attach(kClosed);
  EXPECT_EQ(capture_->stats().listeners, 12U) << "eight here, four there";
  lab::sh(other.prefix() + "ip -6 addr add ::1/128 dev lo");
  ASSERT_TRUE(eventually([&] { return capture_->stats().listeners == 16; }));
  Client six(cgroup_.path(), other.fd(), connects({.to = ep("[2001:db8::10]:443")}));
  EXPECT_EQ(six.report().error, 0);
  Client four(cgroup_.path(), other.fd(), connects({.to = ep("192.0.2.9:443")}));
  EXPECT_EQ(four.report().error, 0);
}

TEST_F(NamespacesBelow, OneWithoutProcessesIsLetGoWhileTheCgroupIsInUse) {
  lab::SideNetns prepared;
  attach(kOpen);
  ASSERT_TRUE(capture_->prepare_netns(kSlot, prepared.fd()));
  make_child();
  lab::SideNetns other;
  for (int round = 0; round < 2; ++round) {
    client_ = std::make_unique<Client>(child_, other.fd(), [](Report&) {});
    (void)client_->report();
    ASSERT_TRUE(namespaces_become(3));
    EXPECT_EQ(capture_->stats().listeners, 24U);
    client_.reset();
    ASSERT_TRUE(namespaces_become(2)) << "its process is gone; what was prepared stays";
    EXPECT_EQ(capture_->stats().listeners, 16U);
  }
}

}  // namespace
}  // namespace tapdeck::kernel

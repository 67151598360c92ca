// Questions for names (UDP, port 53) that arrive on a captured interface: they go to our door, whatever resolver they
// are for, and answers come from there.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "daemon/kernel/netns/tc_rig.h"

namespace tapdeck::kernel {
namespace {

constexpr TargetPolicy kAnswered{OnLease::Open, Sealed::No, Names::Answered};
constexpr TargetPolicy kSealedAnswered{OnLease::Closed, Sealed::Yes, Names::Answered};

class TcDoors : public TcCapture {};

// Of the gateway itself, of a host behind it, and of nobody.
TEST_F(TcDoors, QuestionsArriveWithTheResolversAddressAndAreAnsweredFromIt) {
  for (const TargetPolicy policy : {kAnswered, kSealedAnswered}) {
    attach(policy);
    for (const char* resolver :
         {"198.18.1.1:53", "198.18.2.2:53", "198.18.9.9:53", "[fd00:1::1]:53", "[fd00:9::9]:53"}) {
      SCOPED_TRACE(resolver);
      Client client("", client_.fd(), lab::asks_udp(ep(resolver)));
      const auto asked = sink_.sent(ep(resolver).family);
      ASSERT_GE(asked.fd, 0);
      EXPECT_EQ(asked.target, kSlot);
      EXPECT_EQ(asked.bytes, "x");
      EXPECT_EQ(asked.to.ip(), ep(resolver).ip());
      lab::Sink::answer(asked, "y");
      EXPECT_EQ(client.report().error, 0) << "it is connected: another sender's answer is not heard";
    }
    EXPECT_EQ(uncaptured(Uncaptured::Dns), 0U);
    capture_.reset();
  }
}

TEST_F(TcDoors, PastTheLeaseAClosedTargetRefusesThem) {
  options_.lease = std::chrono::milliseconds(1);
  attach({OnLease::Closed, Sealed::No, Names::Answered});
  EXPECT_TRUE(eventually([&] {
    Client client("", client_.fd(), lab::sends_udp(ep("198.18.2.2:53"), lab::Connected::No));
    (void)client.report();
    return target_stats().refused_lease > 0;
  }));
}

TEST_F(TcDoors, GoWithTheirTarget) {
  attach(kAnswered);
  EXPECT_EQ(sink_.doors(), 2U);
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(sink_.doors(), 0U);
}

}  // namespace
}  // namespace tapdeck::kernel

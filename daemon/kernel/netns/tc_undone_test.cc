// Somebody else undoes what the tc path has done in the kernel, or is done while it is half done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/netns/tc_rig.h"
#include "daemon/kernel/rtnetlink.h"
#include "daemon/kernel/tc_filter.h"

namespace tapdeck::kernel {
namespace {

class TcUndone : public TcCapture {
 protected:
  bool has_gap() {
    return eventually([&] { return target_stats().gaps == 1; });
  }
  std::string problem() { return target_stats().trouble; }
  static void rule_before_ours(const std::string& what) {
    lab::sh("ip rule " + what + " priority " + std::to_string(kRulePriority - 1) + " lookup 52");
  }
  // As a VPN does: everything but the clients' own network goes another way.
  static void fill_table_52() {
    lab::sh("ip route add default via 198.18.2.2 table 52 && ip route add throw 198.18.1.0/24 table 52");
  }
  int connects_to_origin() {
    Client client("", client_.fd(), connects({.to = ep("198.18.2.2:18080")}));
    return client.report().error;
  }
};

TEST_F(TcUndone, RulesThatAreTakenAwayAreAddedAgainAndTheGapCounted) {
  attach(kClosed);
  const std::string priority = " priority " + std::to_string(kRulePriority);
  for (const char* family : {"ip", "ip -6"}) {
    for (int i = 0; i < 2; ++i) lab::sh(family + (" rule del" + priority));
  }
  ASSERT_TRUE(has_gap());
  EXPECT_EQ(lab::output_of("ip rule | grep -c " + std::to_string(kRulePriority)), "2\n");
  EXPECT_EQ(problem(), "");
  EXPECT_TRUE(target_stats().attached);
  expect_captured("198.18.2.2:443", "198.18.1.2");
  expect_captured("[fd00:2::2]:443", "fd00:1::2");
}

TEST_F(TcUndone, TheRuleThatRefusesQuicIsAddedAgainToo) {
  attach(kOpen);
  lab::sh("ip rule del prohibit");
  ASSERT_TRUE(has_gap());
  EXPECT_NE(lab::output_of("ip rule | grep prohibit"), "");
}

TEST_F(TcUndone, OpenTargetsPassWhileARuleComesBeforeOurs) {
  const auto origin = origin_listener("198.18.2.2:18080");
  attach(kOpen);
  fill_table_52();
  rule_before_ours("add");
  ASSERT_TRUE(eventually([&] { return !problem().empty(); }));
  EXPECT_THAT(problem(), testing::HasSubstr("a number above"));
  EXPECT_FALSE(target_stats().attached);
  EXPECT_EQ(connects_to_origin(), 0);
  EXPECT_TRUE(lab::accepts_within(origin, 1000));
  EXPECT_EQ(uncaptured(Uncaptured::NoListener), 1U);
  rule_before_ours("del");
  ASSERT_TRUE(has_gap());
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(sink_.gone(), 1);
  EXPECT_EQ(sink_.back(), 1);
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcUndone, ClosedTargetsAreRefusedWhileARuleComesBeforeOurs) {
  const auto origin = origin_listener("198.18.2.2:18080");
  fill_table_52();
  rule_before_ours("add");
  attach(kClosed);
  EXPECT_THAT(problem(), testing::HasSubstr("a number above"));
  EXPECT_NE(connects_to_origin(), 0);
  EXPECT_GE(target_stats().refused_no_listener, 1U);
  EXPECT_FALSE(lab::accepts_within(origin, 0));
  rule_before_ours("del");
  ASSERT_TRUE(has_gap());
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcUndone, RulesOfVpnsAndContainerNetworksComeAfterOurs) {
  fill_table_52();
  for (const char* priority : {"512", "5270"}) lab::sh(std::string("ip rule add lookup 52 priority ") + priority);
  attach(kClosed);
  EXPECT_EQ(problem(), "");
  expect_captured("198.18.2.2:443", "198.18.1.2");
}

TEST_F(TcUndone, FilterThatIsTakenAwayIsAttachedAgainAndTheGapCounted) {
  attach(kOpen);
  lab::sh("tc filter del dev c0 ingress");
  ASSERT_TRUE(has_gap());
  expect_captured("198.18.2.2:443", "198.18.1.2");
  capture_.reset();
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "") << "still ours to remove";
}

TEST_F(TcUndone, ClsactThatIsTakenAwayIsMadeAgainAndTheGapCounted) {
  attach(kClosed);
  lab::sh("tc qdisc del dev c0 clsact");
  ASSERT_TRUE(has_gap());
  expect_captured("198.18.2.2:443", "198.18.1.2");
  EXPECT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(lab::output_of("tc qdisc show dev c0 | grep clsact"), "");
}

class TcFilterSteps : public TcCapture {
 protected:
  void SetUp() override {
    TcCapture::SetUp();
    if (IsSkipped()) return;
    auto maps = BpfMaps::create(16);
    ASSERT_TRUE(maps) << maps.error().message();
    maps_ = std::move(*maps);
    ASSERT_TRUE(maps_->need_tc());
    auto program = TcProgram::load(*maps_, kSlot, 0x100, 14, 1);
    ASSERT_TRUE(program) << program.error().message();
    program_ = std::move(*program);
    index_ = interface_facts("c0")->index;
  }
  Result<TcFilter> attach_filter(const FilterRecorder& record) {
    return attach_tc_filter(index_, 100, program_->fd(), MadeBefore::No, record);
  }
  static std::string filters() { return lab::output_of("tc filter show dev c0 ingress"); }
  static std::string qdisc() { return lab::output_of("tc qdisc show dev c0 | grep clsact"); }

  std::unique_ptr<BpfMaps> maps_;
  std::unique_ptr<TcProgram> program_;
  int index_ = 0;
};

TEST_F(TcFilterSteps, RecordIsThereBeforeTheFilterAndIsEnoughToRemoveIt) {
  TcFilter recorded;
  const auto attached = attach_filter([&](const TcFilter& planned) -> Result<void> {
    EXPECT_EQ(filters() + qdisc(), "");
    recorded = *TcFilter::from_record(planned.to_record());
    return {};
  });
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(attached->to_record(), recorded.to_record());
  EXPECT_TRUE(is_attached(recorded));
  ASSERT_TRUE(detach_tc_filter(recorded));
  EXPECT_EQ(filters() + qdisc(), "");
}

TEST_F(TcFilterSteps, WithoutARecordNothingIsAttached) {
  EXPECT_FALSE(attach_filter([](const TcFilter&) { return fail(Code::Io, "disk full"); }));
  EXPECT_EQ(filters() + qdisc(), "");
}

TEST_F(TcFilterSteps, ARecordOfWhatWasNeverMadeIsRemovedWithoutAnError) {
  TcFilter planned;
  EXPECT_FALSE(attach_filter([&](const TcFilter& filter) {
    planned = filter;
    return fail(Code::Io, "killed");
  }));
  EXPECT_FALSE(is_attached(planned));
  EXPECT_TRUE(detach_tc_filter(planned));
  lab::sh("tc qdisc add dev c0 clsact");
  EXPECT_FALSE(is_attached(planned));
  planned.made_qdisc = false;
  EXPECT_TRUE(detach_tc_filter(planned));
  EXPECT_NE(qdisc(), "");
}

TEST_F(TcFilterSteps, FilterOfAnotherProgramInItsPlaceIsLeftAlone) {
  ASSERT_TRUE(attach_filter([](const TcFilter&) -> Result<void> { return {}; }));
  TcFilter other;
  other.ifindex = index_;
  other.handle = 0x7a;
  other.priority = 100;
  other.program_id = 1;
  other.made_qdisc = true;
  EXPECT_FALSE(is_attached(other));
  EXPECT_TRUE(detach_tc_filter(other));
  EXPECT_NE(filters(), "");
}

}  // namespace
}  // namespace tapdeck::kernel

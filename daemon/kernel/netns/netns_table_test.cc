// NetnsTable alone, by a clock of the test: which namespaces keep their listeners when a target leaves, and that what
// failed leaves nothing behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>

#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns/lab.h"
#include "daemon/kernel/netns_table.h"

namespace tapdeck::kernel {
namespace {

using std::chrono::seconds;
using Why = NetnsTable::Why;

class Namespaces : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root";
    auto maps = BpfMaps::create(64);
    ASSERT_TRUE(maps) << maps.error().message();
    maps_ = std::move(*maps);
    home_ = open_own_netns().value_or(UniqueFd());
    options_.workers = 1;
    table_ = std::make_unique<NetnsTable>(options_, *maps_, sink_, home_.get(), netns_cookie().value_or(0));
  }
  [[nodiscard]] Result<void> use(uint32_t target, const lab::SideNetns& ns) {
    return table_->use(target, UniqueFd(::fcntl(ns.fd(), F_DUPFD_CLOEXEC, 0)));
  }
  [[nodiscard]] bool is_listened_in(const lab::SideNetns& ns) {
    uint64_t cookie = 0;
    EXPECT_TRUE(NetnsScope::run(ns.fd(), home_.get(), [&]() -> Result<void> {
      TRY(there, netns_cookie());
      cookie = there;
      return {};
    }));
    return table_->has(cookie);
  }

  lab::FreshNetns netns_;
  lab::Sink sink_;
  CaptureOptions options_;
  std::unique_ptr<BpfMaps> maps_;
  UniqueFd home_;
  std::unique_ptr<NetnsTable> table_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

TEST_F(Namespaces, OneThatWaitsForItsTargetsNextProcessIsNotRetiredForAnotherTarget) {
  const lab::SideNetns waits, other;
  ASSERT_TRUE(use(1, waits));
  ASSERT_TRUE(use(2, other));
  table_->leave(1, Why::Emptied, begin_);
  table_->leave(2, Why::Gone, begin_ + seconds(1));
  EXPECT_FALSE(is_listened_in(other));
  EXPECT_TRUE(is_listened_in(waits));
  table_->leave(3, Why::Detached, begin_ + seconds(2));
  EXPECT_TRUE(is_listened_in(waits));
  table_->leave(3, Why::Emptied, begin_ + seconds(4));
  table_->tick(begin_ + seconds(6));
  EXPECT_FALSE(is_listened_in(waits)) << "five seconds after its own target left, whoever leaves meanwhile";
}

TEST_F(Namespaces, OneThatWaitsIsRetiredAtOnceWhenItsOwnTargetIsDetached) {
  const lab::SideNetns waits;
  ASSERT_TRUE(use(1, waits));
  table_->leave(1, Why::Emptied, begin_);
  table_->leave(1, Why::Detached, begin_ + seconds(1));
  EXPECT_FALSE(is_listened_in(waits));
  EXPECT_TRUE(sink_.addresses().empty());
}

TEST_F(Namespaces, OneThatTwoUseWaitsForTheOneThatMayComeBack) {
  const lab::SideNetns shared;
  ASSERT_TRUE(use(1, shared));
  ASSERT_TRUE(use(2, shared));
  table_->leave(1, Why::Emptied, begin_);
  table_->leave(2, Why::Detached, begin_ + seconds(1));
  EXPECT_TRUE(is_listened_in(shared));
  table_->tick(begin_ + seconds(6));
  EXPECT_FALSE(is_listened_in(shared));
}

TEST_F(Namespaces, WhatFailedLeavesNoListenerNoted) {
  const lab::SideNetns one;
  std::vector<tapdeck_own_key> fillers;
  tapdeck_own_key filler{};
  while (maps_->add_own_listener(filler)) {
    fillers.push_back(filler);
    ++filler.netns_cookie;
  }
  ASSERT_GT(fillers.size(), 3U);
  for (size_t i = 0; i < 3; ++i) maps_->remove_own_listener(fillers[i]);
  EXPECT_FALSE(use(1, one)) << "it takes more than three";
  EXPECT_FALSE(is_listened_in(one));
  EXPECT_TRUE(sink_.addresses().empty());
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(maps_->add_own_listener(fillers[i])) << i;
  for (const tapdeck_own_key& each : fillers) maps_->remove_own_listener(each);
  EXPECT_TRUE(use(1, one));
  EXPECT_TRUE(is_listened_in(one));
}

TEST_F(Namespaces, TheThreadIsBackHoweverTheFunctionInsideEnds) {
  const lab::SideNetns other;
  const auto before = netns_cookie();
  EXPECT_THROW(ignore(NetnsScope::run(other.fd(), home_.get(),
                                      []() -> Result<void> { throw std::runtime_error("as when memory is out"); }),
                      "it throws"),
               std::runtime_error);
  EXPECT_EQ(netns_cookie().value_or(0), before.value_or(1));
}

}  // namespace
}  // namespace tapdeck::kernel

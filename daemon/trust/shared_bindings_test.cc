// Needs root, as bind_test.cc.
#include "daemon/trust/shared_bindings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/base/test_directory.h"
#include "daemon/trust/fake_binding.h"
#include "daemon/trust/test_certificates.h"
#include "daemon/trust/test_sleeper.h"

namespace tapdeck::trust {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kBundle = "/etc/ssl/certs/ca-certificates.crt";

class Shared : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root (CAP_SYS_ADMIN) to make mount namespaces";
    root_.write("etc/ssl/certs/ca-certificates.crt", kOtherPem);
  }
  std::unique_ptr<SharedBindings::Share> join(const Sleeper& sleeper) {
    auto share = shared_.join(sleeper.pid(), [&](int pid) {
      ++bound_;
      BindOptions options;
      options.run_dir = run_dir_.path();
      options.ca = CaCertificate{kOurPem, kOurHash};
      return bind_into(pid, options);
    });
    EXPECT_TRUE(share) << share.error().message();
    return share ? std::move(*share) : nullptr;
  }
  static std::string mounts_of(const Sleeper& sleeper) {
    return TestDirectory::read_file("/proc/" + std::to_string(sleeper.pid()) + "/mountinfo");
  }

  TestDirectory run_dir_;
  TestDirectory root_;
  SharedBindings shared_;
  int bound_ = 0;
};

TEST_F(Shared, TheLastToLeaveUncoversInWhateverOrderTheyLeave) {
  std::vector<size_t> order = {0, 1, 2};
  do {
    Sleeper sleeper(root_.path());
    std::vector<std::unique_ptr<SharedBindings::Share>> shares;
    for (size_t i = 0; i < order.size(); ++i) shares.push_back(join(sleeper));
    EXPECT_EQ(std::exchange(bound_, 0), 1);
    for (const size_t which : order) {
      EXPECT_EQ(sleeper.read(kBundle), kOtherPem + kOurPem) << "while one is left its clients trust us";
      const auto undone = shares[which]->undo();
      EXPECT_TRUE(undone) << undone.error().message();
      EXPECT_TRUE(shares[which]->undo()) << "once more does nothing";
    }
    EXPECT_EQ(sleeper.read(kBundle), kOtherPem);
    EXPECT_THAT(mounts_of(sleeper), Not(HasSubstr("tapdeck-trust")));
  } while (std::ranges::next_permutation(order).found);
}

TEST_F(Shared, EachNamespaceHasItsOwnAndAShareThatDiesLeaves) {
  Sleeper one(root_.path());
  Sleeper two(root_.path());
  auto first = join(one);
  auto second = join(two);
  EXPECT_EQ(bound_, 2);
  first.reset();
  EXPECT_EQ(one.read(kBundle), kOtherPem);
  EXPECT_EQ(two.read(kBundle), kOtherPem + kOurPem);
}

TEST_F(Shared, WhatTheTargetUncoveredItselfIsCoveredAgain) {
  Sleeper sleeper(root_.path());
  auto first = join(sleeper);
  ASSERT_EQ(
      ::system(
          ("nsenter -t " + std::to_string(sleeper.pid()) + " -m umount -l " + root_.path() + "/etc/ssl/certs").c_str()),
      0);
  ASSERT_EQ(sleeper.read(kBundle), kOtherPem);
  auto second = join(sleeper);
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem + kOurPem);
  EXPECT_TRUE(first->undo());
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem + kOurPem);
  EXPECT_TRUE(second->undo());
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem);
}

TEST_F(Shared, WhatCouldNotBeUndoneIsTriedAgainWhenSomebodyComesOrGoes) {
  Sleeper sleeper(root_.path());
  Sleeper other(root_.path());
  auto share = join(sleeper);
  auto bystander = join(other);
  const std::string inside = "nsenter -t " + std::to_string(sleeper.pid()) + " -m ";
  const std::string place = root_.path() + "/etc/ssl/certs";
  ASSERT_EQ(::system((inside + "mount -t tmpfs none " + place).c_str()), 0);
  EXPECT_EQ(share->undo().error().code, Code::Busy);
  ASSERT_EQ(::system((inside + "umount " + place).c_str()), 0);
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem + kOurPem);
  EXPECT_TRUE(bystander->undo());
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem);
}

TEST_F(Shared, WhatWasLeftUndoneIsUndoneWhenSomebodyLeaves) {
  Sleeper sleeper(root_.path());
  Sleeper other(root_.path());
  auto share = join(sleeper);
  auto bystander = join(other);
  share->leave_undone();
  share->leave_undone();
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem + kOurPem);
  EXPECT_TRUE(bystander->undo());
  EXPECT_EQ(sleeper.read(kBundle), kOtherPem);
}

TEST(SharedBindings, AfterOneThatHungNothingIsTriedAgainForAWhile) {
  auto now = SharedBindings::Clock::now();
  SharedBindings shared([&] { return now; });
  int undone = 0;
  bool hangs = true;
  const auto bind = [&](int pid) -> Result<std::unique_ptr<Binding>> {
    return std::make_unique<FakeBinding>(pid, [&]() -> Result<void> {
      ++undone;
      return hangs ? fail(Code::Timeout, "it hangs") : Result<void>{};
    });
  };
  auto first = shared.join(1, bind);
  auto second = shared.join(2, bind);
  ASSERT_TRUE(first && second);
  (*second)->leave_undone();
  EXPECT_EQ((*first)->undo().error().code, Code::Timeout);
  EXPECT_EQ(undone, 1);
  auto third = shared.join(3, bind);
  ASSERT_TRUE(third);
  EXPECT_EQ(undone, 1) << "everybody would wait for both";
  now += SharedBindings::kHungPause;
  auto fourth = shared.join(4, bind);
  ASSERT_TRUE(fourth);
  EXPECT_EQ(undone, 2) << "the first to hang again is enough";
  hangs = false;
  now += SharedBindings::kHungPause;
  EXPECT_TRUE((*third)->undo());
  EXPECT_EQ(undone, 5) << "itself and the two that were left";
}

TEST_F(Shared, AFailureIsNotKept) {
  Sleeper sleeper(root_.path());
  const auto failed = shared_.join(
      sleeper.pid(), [](int) { return Result<std::unique_ptr<Binding>>(fail(Code::Timeout, "it hangs")); });
  EXPECT_EQ(failed.error().code, Code::Timeout);
  EXPECT_TRUE(join(sleeper));
}

}  // namespace
}  // namespace tapdeck::trust

#include "store/merge_receipt.h"

#include "store/test_support.h"

namespace tapdeck::store {
namespace {

TEST(MergeReceipt, IsReadAfterItsDirectoryIsGone) {
  const TestDirectory dir;
  const std::string pending = dir.path() + "/1-2";
  std::filesystem::create_directory(pending);
  const auto receipt = MergeReceipt::place(pending);
  ASSERT_TRUE(receipt) << receipt.error().message();
  EXPECT_EQ(receipt->of("s"), std::nullopt);
  MergeReceipt::write(pending, "s", {"s", 3});
  MergeReceipt::write(pending, "other", {"other-2", 1});
  MergeReceipt::write(pending, "s", {"s-2", 4});
  std::filesystem::remove_all(pending);
  EXPECT_EQ(receipt->of("s"), (MergedAs{"s-2", 4})) << "of a merge that went on, the last word counts";
  EXPECT_EQ(receipt->of("other"), (MergedAs{"other-2", 1}));
  EXPECT_EQ(receipt->of("oth"), std::nullopt);
}

TEST(MergeReceipt, NobodyHasToAskForOne) {
  const TestDirectory dir;
  MergeReceipt::write(dir.path(), "s", {"s", 1});
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace tapdeck::store

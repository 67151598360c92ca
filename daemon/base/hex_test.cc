#include "daemon/base/hex.h"

#include <gtest/gtest.h>

#include <array>

namespace tapdeck {
namespace {

TEST(Hex, HasTwoLowerCaseDigitsAByte) {
  EXPECT_EQ(to_hex(std::array<uint8_t, 4>{0x00, 0x0f, 0xa9, 0xff}), "000fa9ff");
  EXPECT_EQ(to_hex({}), "");
}

}  // namespace
}  // namespace tapdeck

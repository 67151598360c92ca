#include "daemon/base/units.h"

#include <gtest/gtest.h>

#include <array>

namespace tapdeck {
namespace {

using namespace std::chrono_literals;

TEST(Units, DurationsWithUnitsAreRead) {
  EXPECT_EQ(*parse_duration("300ms"), 300ms);
  EXPECT_EQ(*parse_duration("1h30m"), 90min);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("0"), 0s);
  EXPECT_EQ(*parse_duration("2d"), 48h);
}

TEST(Units, DurationsWithoutUnitOrOutOfRangeAreRefused) {
  for (const char* text :
       {"", "10", "s", "-1s", "1x", "1s2", "1..5s", "9999999999h", "1.s", " 1s", "1e3s", "200000d200000d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Units, DurationsReadBackAsPrinted) {
  for (const std::chrono::nanoseconds value :
       std::array{0ns, 1ns, std::chrono::nanoseconds(1500us), std::chrono::nanoseconds(90min)}) {
    EXPECT_EQ(*parse_duration(format_duration(value)), value);
  }
  EXPECT_EQ(format_duration(90min), "1h30m");
}

TEST(Units, SizesAreReadInBothSystems) {
  EXPECT_EQ(*parse_size("64KiB"), 65536u);
  EXPECT_EQ(*parse_size("1.5MiB"), 1572864u);
  EXPECT_EQ(*parse_size("2GB"), 2'000'000'000u);
  EXPECT_EQ(*parse_size("7B"), 7u);
  for (const char* text : {"", "10", "MiB", "1 MiB", "-1B", "9000000000000TiB", "1MiB2"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Units, SizesReadBackAsPrinted) {
  for (const uint64_t value : {0ULL, 1ULL, 1000ULL, 65536ULL, 3ULL << 30})
    EXPECT_EQ(*parse_size(format_size(value)), value);
  EXPECT_EQ(format_size(64ULL << 20), "64MiB");
  EXPECT_EQ(human_size(1500000), "1.4 MiB");
}

}  // namespace
}  // namespace tapdeck

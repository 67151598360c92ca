#include "daemon/kernel/kernel_clock.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace tapdeck::kernel {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string link_text(const char* path) {
  std::error_code error;
  return std::filesystem::read_symlink(path, error).string();
}

// A process does not change its own namespace once it has threads.
int64_t read_own_offset_ns() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/timens_offsets").rdbuf();
  return own_offset_ns(text.str(), link_text("/proc/self/ns/time"), link_text("/proc/self/ns/time_for_children"));
}

}  // namespace

int64_t monotonic_offset_ns(std::string_view timens_offsets) {
  std::istringstream lines{std::string(timens_offsets)};
  std::string clock;
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
  while (lines >> clock >> seconds >> nanoseconds) {
    if (clock == "monotonic" || clock == "1") return seconds * kSecond + nanoseconds;
  }
  return 0;
}

int64_t own_offset_ns(std::string_view timens_offsets, std::string_view own_namespace,
                      std::string_view namespace_of_children) {
  return own_namespace == namespace_of_children ? monotonic_offset_ns(timens_offsets) : 0;
}

uint64_t monotonic_ns() {
  static const int64_t ahead = read_own_offset_ns();
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(static_cast<int64_t>(now.tv_sec) * kSecond + now.tv_nsec - ahead);
}

}  // namespace tapdeck::kernel

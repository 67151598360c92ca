#include "daemon/app/share_descriptors.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "daemon/base/log.h"
#include "daemon/base/test_descriptors.h"

namespace tapdeck::app {
namespace {

rlimit limit() {
  rlimit files{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  return files;
}

// What is logged of so many connections; the limit and the bounds are as before afterwards.
std::string told_of(uint64_t connections, TellOfFew tell) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  const UniqueFd out(ends[0]), in(ends[1]);
  const BoundDescriptors bounds_restored({});
  const DescriptorLimit limit_restored(static_cast<int>(limit().rlim_cur));
  log::configure({.fd = in.get()});
  share_descriptors(connections, 2, tell);
  log::configure({});
  std::string text(4096, '\0');
  const ssize_t n = ::read(out.get(), text.data(), text.size());
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

TEST(ShareDescriptors, TakesAllThatAreAllowedAndKeepsSomeFromClients) {
  const rlimit before = limit();
  const DescriptorLimit fewer(static_cast<int>(before.rlim_max / 2));
  const BoundDescriptors restored({});
  share_descriptors(1, 2, TellOfFew::Yes);
  EXPECT_EQ(limit().rlim_cur, before.rlim_max);
  EXPECT_EQ(descriptor_bounds().accepting, descriptor_bounds_of(before.rlim_max, 2).accepting);
  EXPECT_EQ(descriptor_bounds().serving, descriptor_bounds_of(before.rlim_max, 2).serving);
}

TEST(ShareDescriptors, ADaemonIsToldOfConnectionsThatCannotAllBeOpen) {
  const rlimit before = limit();
  const DescriptorLimit fewer(static_cast<int>(before.rlim_max / 2));
  const uint64_t fit = static_cast<uint64_t>(descriptor_bounds_of(before.rlim_max, 2).accepting) / 2;
  EXPECT_EQ(told_of(fit, TellOfFew::Yes), "");
  EXPECT_NE(told_of(fit + 1, TellOfFew::Yes).find("descriptors.few"), std::string::npos);
  EXPECT_EQ(told_of(fit + 1, TellOfFew::No), "");
  EXPECT_EQ(limit().rlim_cur, before.rlim_max / 2) << "for the tests behind this one";
}

}  // namespace
}  // namespace tapdeck::app

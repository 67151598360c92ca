#include "daemon/app/next_step.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace tapdeck::app {
namespace {

std::string told(const std::unexpected<Error>& failed) {
  return with_next_step(failed.error());
}

TEST(NextStep, IsPutBehindAMessageThatHasNone) {
  EXPECT_EQ(
      told(fail_errno(EACCES, "open store /x")),
      "open store /x: Permission denied; ask as root or as the owner of the state directory; see: tapdeck doctor");
  EXPECT_EQ(told(fail(Code::Busy, "store /x is open for writing in process 7", Origin::Store)),
            "store /x is open for writing in process 7; stop that process, or choose another directory with "
            "--state-dir");
}

TEST(NextStep, WhatAnErrnoAsksForComesFirst) {
  const std::string descriptors = told(fail_errno(EMFILE, "share BPF map netns_asked", Origin::Kernel));
  EXPECT_NE(descriptors.find("Too many open files; raise the limit of open files: ulimit -n"), std::string::npos)
      << descriptors;
  const std::string store = told(fail(Code::Io, "open store /x: IO error: Read-only file system", Origin::Store));
  EXPECT_NE(store.find("; make it writable, or choose another directory with --state-dir"), std::string::npos) << store;
}

TEST(NextStep, MessagesThatSayItThemselvesStay) {
  for (const std::string detail :
       {"session 'shop' exists; choose another name", "load programs (needs CAP_BPF, or root)",
        "make directory /x (choose another with --state-dir)", "there is no CA yet: tapdeck ca init"})
    EXPECT_EQ(told(fail(Code::Permission, detail)), detail);
  // And those to which only a generality could be added.
  EXPECT_EQ(told(fail(Code::InvalidArgument, "'x' is not a recording id")), "'x' is not a recording id");
  EXPECT_EQ(told(fail_errno(ENOENT, "open ca.pem")), "open ca.pem: No such file or directory");
}

}  // namespace
}  // namespace tapdeck::app

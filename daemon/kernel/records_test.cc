// What is written down for a successor, and the thread everything runs on. No privilege needed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "daemon/base/test_directory.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/control_thread.h"
#include "daemon/kernel/netns_table.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/kernel/tc_filter.h"

namespace tapdeck::kernel {
namespace {

namespace fs = std::filesystem;

TEST(TcFilterRecord, SurvivesTheFile) {
  TcFilter filter;
  filter.ifindex = 12;
  filter.handle = 0x7a;
  filter.priority = 101;
  filter.program_id = 4711;
  filter.made_qdisc = true;
  filter.is_closed = false;
  const auto back = TcFilter::from_record(filter.to_record());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->to_record(), filter.to_record());
  EXPECT_TRUE(back->made_qdisc);
  EXPECT_FALSE(back->is_closed);
}

TEST(TcFilterRecord, OfAnOlderVersionMayBeOfAClosedTarget) {
  const auto filter = TcFilter::from_record("12 122 100 4711 1\n");
  ASSERT_TRUE(filter);
  EXPECT_TRUE(filter->is_closed);
}

TEST(TcFilterRecord, DamagedTextIsAbsence) {
  for (const char* text : {"", "12", "12 1 2", "x 1 2 3 1", "0 1 2 3 1", "-4 1 2 3 1"}) {
    EXPECT_FALSE(TcFilter::from_record(text)) << text;
  }
}

TEST(RunDirectory, HasOneOwnerAndGoesWhenNothingIsLeft) {
  const TestDirectory directory;
  auto first = RunDirectory::open(directory.path() + "/run");
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(RunDirectory::open_at(directory.path() + "/run", kDirectory).error().code, Code::Busy);
  auto beside = RunDirectory::open(directory.path() + "/run");
  ASSERT_TRUE(beside) << "a second instance gets records of its own";
  beside->close();
  EXPECT_EQ(clean_leftovers(directory.path() + "/run").error().code, Code::Busy);
  first->close();
  EXPECT_FALSE(fs::exists(directory.path() + "/run/kernel"));
  EXPECT_TRUE(clean_leftovers(directory.path() + "/run"));
  EXPECT_TRUE(clean_leftovers("/nonexistent-tapdeck-run"));
}

TEST(RunDirectory, WhatADeadSecondInstanceLeftIsSwept) {
  const TestDirectory directory;
  const std::string dead = directory.path() + "/kernel-2147483646";  // above every pid_max
  fs::create_directories(dead);
  auto run = RunDirectory::open(directory.path());
  ASSERT_TRUE(run);
  EXPECT_FALSE(fs::exists(dead));
  run->close();
}

TEST(RunDirectory, WhatTheDeadLeftSaysWhetherItStillRefuses) {
  const TestDirectory directory;
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::None) << "an orderly stop leaves nothing";
  auto run = RunDirectory::open(directory.path());
  ASSERT_TRUE(run) << run.error().message();
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::None) << "nothing was captured";
  TcFilter filter{.ifindex = 12, .is_closed = false};
  ASSERT_TRUE(run->write(std::string(kFilterRecord) + "2", filter.to_record()));
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::None) << "an open target passes";
  filter.is_closed = true;
  ASSERT_TRUE(run->write(std::string(kFilterRecord) + "2", filter.to_record()));
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::Stands);
  run->remove(std::string(kFilterRecord) + "2");
  ASSERT_TRUE(run->write(std::string(kOldFilterRecord) + "3", "record"));
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::Stands);
  ASSERT_TRUE(run->write(kPinsRecord, directory.path() + "/kernel/bpf"));
  EXPECT_EQ(aftermath_of_the_dead(directory.path()), Aftermath::Lost) << "its bpffs is not there any more";
}

TEST(RunDirectory, TheSecondDeathInARowDoesNotOverwriteTheRecordOfTheFirst) {
  const TestDirectory directory;
  TcFilter filter;
  filter.ifindex = 2147483646;  // no such interface
  filter.program_id = 1;
  for (int life = 0; life < 2; ++life) {
    auto run = RunDirectory::open(directory.path());
    ASSERT_TRUE(run);
    filter.made_qdisc = life == 0;
    ASSERT_TRUE(run->write(std::string(kFilterRecord) + "3", filter.to_record()));
  }
  auto run = RunDirectory::open(directory.path());
  ASSERT_TRUE(run);
  EXPECT_TRUE(run->old_filters_made_qdisc(filter.ifindex)) << "known from the first one only";
  EXPECT_FALSE(run->old_filters_made_qdisc(filter.ifindex - 1));
  run->close();
  EXPECT_FALSE(fs::exists(directory.path() + "/kernel")) << "both are released with their interface gone";
}

TEST(RunDirectory, DamagedRecordsDoNotStopTheNextStart) {
  const TestDirectory directory;
  fs::create_directories(directory.path() + "/kernel");
  auto run = RunDirectory::open(directory.path());
  ASSERT_TRUE(run);
  ASSERT_TRUE(run->write(std::string(kFilterRecord) + "3", "garbage"));
  ASSERT_TRUE(run->write(kPinsRecord, directory.path() + "/kernel/bpf"));
  ASSERT_TRUE(run->write(kSteeringRecord, "garbage"));
  ASSERT_TRUE(run->write(kUnfinishedRecord, "12 1"));
  run->close();
  EXPECT_TRUE(fs::exists(directory.path() + "/kernel/lock")) << "records are left: the directory stays";
  run = fail(Code::Closed, "");  // gives the lock back
  EXPECT_TRUE(clean_leftovers(directory.path()));
  EXPECT_FALSE(fs::exists(directory.path() + "/kernel"));
}

TEST(Addresses, MappedFormIsReversible) {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:80", "[::1]:1", "0.0.0.0:0"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint);
    __u8 raw[16];
    to_mapped(*endpoint, raw);
    EXPECT_EQ(from_mapped(raw, endpoint->port), *endpoint);
  }
}

TEST(ControlThread, CallsRunOnOneThreadAndNest) {
  struct Nothing final : ControlThread::Handler {
    void on_ready(uint64_t) override {}
    void on_tick() override {}
  } handler;
  auto control = ControlThread::start(handler, std::chrono::milliseconds(1000));
  ASSERT_TRUE(control);
  std::thread::id first;
  std::thread::id nested;
  (*control)->call([&] {
    first = std::this_thread::get_id();
    (*control)->call([&] { nested = std::this_thread::get_id(); });
  });
  EXPECT_EQ(first, nested);
  EXPECT_NE(first, std::this_thread::get_id());
}

TEST(CaptureOptions, ImpossibleValuesAreRefusedBeforeAnythingIsTouched) {
  struct Nobody final : ListenerSink {
    void add_listener(CapturedListener) override {}
    void remove_listener(uint64_t) override {}
  } sink;
  for (const auto& change : std::initializer_list<void (*)(CaptureOptions&)>{
           [](CaptureOptions& o) { o.workers = 0; }, [](CaptureOptions& o) { o.workers = 33; },
           [](CaptureOptions& o) { o.listeners_max = 65; }, [](CaptureOptions& o) { o.flow_map_entries = 0; },
           [](CaptureOptions& o) { o.mark = 0; }}) {
    CaptureOptions options;
    options.run_dir = "/nonexistent-tapdeck-run";
    change(options);
    EXPECT_EQ(Capture::create(options, sink).error().code, Code::InvalidArgument);
  }
}

TEST(Names, AreThoseOfMetrics) {
  EXPECT_EQ(to_string(Uncaptured::BoundDevice), "bound_device");
  EXPECT_EQ(to_string(Uncaptured::PreExisting), "pre_existing");
  EXPECT_EQ(to_string(Uncaptured::Dns), "udp") << "as the metric has it";
  EXPECT_EQ(to_string(Uncaptured::Other), "family");
  EXPECT_EQ(to_string(Uncaptured::Fragment), "family");
  EXPECT_EQ(to_string(CapturePath::Cgroup), "cgroup");
}

}  // namespace
}  // namespace tapdeck::kernel

#include "daemon/app/name_service.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <map>

#include "daemon/app/capture_bridge.h"
#include "daemon/base/eventually.h"
#include "daemon/base/test_directory.h"
#include "daemon/kernel/no_capture.h"
#include "daemon/names/names_rig.h"
#include "store/name_answers.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using names::LoopbackUdp;
using Way = kernel::NameSighting::Way;

constexpr uint32_t kSlot = 3;

// Knows one client and whom it asked; the rest of a Capture is not there.
class OneClient final : public kernel::NoCapture {
 public:
  OneClient() : NoCapture(Error{Code::Unsupported, "a test", Origin::Kernel, Retry::No, 0}) {}
  Result<kernel::CapturedFlow> resolve_question(uint64_t, const Endpoint& from, const Endpoint&) override {
    if (from.port != client.load()) return fail(Code::NotFound, "a stranger");
    kernel::CapturedFlow out;
    out.original_destination = resolver;
    out.identity.target = kSlot;
    return out;
  }
  std::atomic<uint16_t> client{0};
  Endpoint resolver;
};

std::string question(unsigned id = 7) {
  return names::query_of(id, "a.example", names::kA);
}

// With the address 192.0.2.1.
std::string reply(unsigned id = 7) {
  return names::reply_to(question(id), 0x8180, 1, names::bytes("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"));
}

class NameServiceTest : public testing::Test {
 protected:
  NameServiceTest() {
    EXPECT_TRUE(service_.start(capture_));
    capture_.resolver = *Endpoint::parse("127.0.0.1", resolver_.port());
    capture_.client = client_.port();
  }
  ~NameServiceTest() override { service_.stop(); }

  void set(Mode mode, modes::Sealed sealed = modes::Sealed::No) {
    runtime_.update([&](modes::RuntimeSnapshot& all) {
      modes::TargetState& target = all.targets[kSlot];
      target.name = "web";
      target.mode = mode;
      target.session = "s";
      target.sealed = sealed;
      target.tape = tape_;
    });
  }
  uint16_t open_door() {
    LoopbackUdp door("127.0.0.1");
    const uint16_t port = door.port();
    service_.add_door({door.take(), *Endpoint::parse("127.0.0.1", port), 9, 0, kernel::kNoTarget});
    return port;
  }
  void see(Way way, const std::string& bytes) { see(way, bytes, bytes.size()); }
  void see(Way way, const std::string& bytes, size_t length) {
    service_.saw({kSlot, 1, *Endpoint::parse("192.0.2.7:5000"), *Endpoint::parse("192.0.2.53:53"), way, bytes, length});
  }
  void record(const std::string& reply) {
    std::vector<store::PendingWrite> writes;
    writes.push_back(store::name_write(tape_->take, {"a.example", names::kA, "answered", reply}));
    ASSERT_TRUE(store_->write(writes, store::Durability::Wal));
  }
  [[nodiscard]] std::string kept() {
    writer_->flush();
    const auto found = store::name_answer(*store_, "s", "a.example", names::kA);
    return found && *found ? (*found)->end : "";
  }
  [[nodiscard]] uint64_t count(Counter counter) const {
    MetricsSnapshot out;
    service_.read(out);
    return out.value(counter);
  }

  TestDirectory directory_;
  config::Config config_;
  std::unique_ptr<store::ExchangeStore> store_ = store::open_store(directory_.path());
  std::unique_ptr<store::StoreWriter> writer_ = *store::StoreWriter::start(*store_);
  std::shared_ptr<const modes::Tape> tape_ = std::make_shared<const modes::Tape>(
      modes::Tape{*store_->open_take("s", store::Append::No), store::KeyHasher(*store_->key_secret("s")), 1, nullptr});
  modes::RuntimeState runtime_;
  OneClient capture_;
  LoopbackUdp client_{"127.0.0.1"}, resolver_{"127.0.0.1"};
  NameService service_{{config_, *store_, writer_.get(), runtime_}};
};

TEST_F(NameServiceTest, WhatIsSeenInPassingIsKept) {
  set(Mode::Record);
  see(Way::Question, question());
  see(Way::Answer, reply());
  EXPECT_EQ(kept(), "answered");
  EXPECT_EQ(count(Counter::NamesObserved), 1U);
}

TEST_F(NameServiceTest, WhatNobodyAnsweredIsKeptWhenTheClientsAreGone) {
  set(Mode::Record);
  see(Way::Question, question());
  service_.tick();
  EXPECT_EQ(kept(), "") << "an answer may come yet";
  service_.stop(NameService::Clients::Gone);
  EXPECT_EQ(kept(), "silent");
}

TEST_F(NameServiceTest, ThatARunWasEndedTooEarlyReplacesNothing) {
  record(reply());
  set(Mode::Record);
  see(Way::Question, question());
  service_.stop(NameService::Clients::Gone);
  EXPECT_EQ(kept(), "answered");
}

TEST_F(NameServiceTest, WhatMayHaveBeenMissedIsCountedAndNotMadeUp) {
  set(Mode::Record);
  see(Way::Question, question());
  upstream::OwnAddresses own;
  CaptureBridge bridge;
  bridge.connect(capture_, {}, own, service_);
  bridge.on_names_lost(2);
  service_.stop(NameService::Clients::Gone);
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(service_.lost(), 3U) << "two datagrams and what became of the question";
  EXPECT_EQ(count(Counter::NamesLost), 3U);
}

TEST_F(NameServiceTest, OfAnAnswerWhoseEndWasNotToldNothingIsKept) {
  set(Mode::Record);
  see(Way::Question, question());
  see(Way::Answer, reply(), reply().size() + 1);
  service_.stop(NameService::Clients::Gone);
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(service_.lost(), 1U);
}

TEST_F(NameServiceTest, AnAnswerIsLookedForWithTheResolverAndThenOnTape) {
  set(Mode::Record, modes::Sealed::Yes);
  const uint16_t door = open_door();
  client_.connect("127.0.0.1", door);
  client_.say(question(1));
  resolver_.hear();
  resolver_.answer(reply(1));
  EXPECT_EQ(client_.hear(), reply(1));
  EXPECT_TRUE(eventually([&] { return kept() == "answered"; }));
  set(Mode::Replay, modes::Sealed::Yes);
  client_.say(question(2));
  EXPECT_EQ(client_.hear(), reply(2));
  EXPECT_EQ(count(Counter::NamesForwarded), 1U);
  EXPECT_EQ(count(Counter::NamesReplayed), 1U);
}

TEST_F(NameServiceTest, StrangersGetNoAnswer) {
  const uint16_t door = open_door();
  set(Mode::Replay, modes::Sealed::Yes);
  LoopbackUdp stranger("127.0.0.1");
  stranger.connect("127.0.0.1", door);
  stranger.say(question(1));
  client_.connect("127.0.0.1", door);
  client_.say(question(2));
  EXPECT_EQ(names::rcode_of(client_.hear()), names::Rcode::NxDomain);
  EXPECT_EQ(service_.unknown().size(), 1U) << "the client's, which came second";
}

TEST_F(NameServiceTest, BehindAClosedDoorIsNobody) {
  set(Mode::Replay, modes::Sealed::Yes);
  client_.connect("127.0.0.1", open_door());
  service_.remove_door(9);
  EXPECT_TRUE(eventually([&] { return ::send(client_.fd(), "x", 1, 0) < 0; })) << "refused by the kernel";
}

}  // namespace
}  // namespace tapdeck::app

// What is made of an exchange in the end: a recording of which the store's queue refused a part is lost, told and
// counted once, however it ends; a gRPC call that is answered too late is one that its client left.
#include "daemon/modes/record.h"

#include <gtest/gtest.h>
#include <asio/io_context.hpp>

#include <functional>

#include "daemon/base/eventually.h"
#include "daemon/exchange/error_response.h"
#include "daemon/modes/replay_item.h"
#include "daemon/net/task_group.h"
#include "store/test_support.h"

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using namespace std::chrono_literals;
using exchange::Exchange;

class ScriptedHandler final : public exchange::Handler {
 public:
  std::function<net::Task<Result<void>>(Exchange&)> body;
  net::Task<Result<void>> serve(Exchange& exchange) override { return body(exchange); }
};

// The queue holds no whole segment.
struct RecordRig {
  explicit RecordRig(size_t queue_bytes = store::kSegmentBytes / 2, std::chrono::milliseconds hold_limit = 10s)
      : store(store::open_store(directory.path())),
        writer(*store::StoreWriter::start(*store, {.queue_bytes = queue_bytes})),
        metrics(registry.create()),
        link(io.get_executor(), *writer, metrics, {.hold_limit = hold_limit}),
        redactor({}, store->redaction_secret()) {
    target.tape = std::make_shared<Tape>(Tape{*store->open_take("default", store::Append::No),
                                              store::KeyHasher(*store->key_secret("default")), 1, nullptr});
    exchange.head.method = "POST";
    exchange.head.target = "/a";
    exchange.head.authority = "api.test";
    exchange.from.destination = *Endpoint::parse("192.0.2.7:80");
  }
  void run() {
    RecordContext context;
    context.store = store.get();
    context.link = &link;
    context.redactor = &redactor;
    context.metrics = &metrics;
    context.interrupted = &interrupted;
    RecordHandler handler(context, origin);
    auto serve = [&]() -> net::Task<> { served = co_await handler.serve(exchange, target, nullptr, "default"); };
    group.spawn(serve());
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (group.size() > 0 && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
    held.reset();
    link.close();
    io.restart();
    io.poll();
    ASSERT_TRUE(served.has_value());
  }
  // What was queued in this loop turn is handed over when it returns.
  net::Task<> next_turn() {
    asio::steady_timer timer(io, 0ms);
    auto [error] = co_await timer.async_wait(net::kToken);
    EXPECT_FALSE(error);
  }
  void expect_lost() {
    EXPECT_EQ(exchange.about.recording, 0U);
    EXPECT_EQ(count(Counter::RecordingComplete), 0U);
    EXPECT_EQ(count(Counter::RecordingFailed), 0U);
    EXPECT_EQ(count(Counter::RecordingDropped), 1U);
    EXPECT_EQ(count(Counter::IncompleteStoreSlow), 1U);
    EXPECT_EQ(store->stored_recordings(), 0U);
  }
  uint64_t count(Counter counter) { return registry.snapshot().value(counter); }

  std::atomic<bool> interrupted{false};
  TestDirectory directory;
  std::unique_ptr<store::ExchangeStore> store;
  std::unique_ptr<store::StoreWriter> writer;
  std::optional<store::HeldWriter> held;  // until the exchange is over
  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics;
  StoreLink link;
  store::Redactor redactor;
  TargetState target;
  FakeExchange exchange;
  ScriptedHandler origin;
  std::optional<Result<void>> served;
  net::TaskGroup group{io.get_executor()};
};

TEST(RecordHandler, AClientThatLeavesDoesNotMakeALostRecordingWhole) {
  RecordRig rig;
  const std::string segment(store::kSegmentBytes, 'x');
  rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    CO_TRY_VOID(exchange.write_now({segment, std::nullopt, false}));
    co_await rig.next_turn();
    asio::post(rig.io, [&] { rig.group.cancel(); });  // while the last of it is waited for
    co_return exchange.end({});
  };
  rig.run();
  rig.expect_lost();
  EXPECT_EQ(rig.exchange.about.outcome, Outcome::Forwarded);
}

TEST(RecordHandler, AFailureBehindALongUploadIsLostWithIt) {
  RecordRig rig;
  const std::string segment(store::kSegmentBytes, 'x');
  rig.exchange.pieces = {{segment, std::nullopt, ""}, {"rest", std::nullopt, ""}};
  rig.exchange.about.mode = Mode::Record;
  rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    for (bool end = false; !end;) {
      CO_TRY(piece, co_await exchange.read_body());
      end = piece.end;
      co_await rig.next_turn();
    }
    const Error died{Code::Reset, "the origin died", Origin::Upstream, Retry::No, 0};
    auto told = co_await exchange::respond_failure(exchange, died);
    EXPECT_TRUE(told);
    co_return std::unexpected(died);
  };
  rig.run();
  rig.expect_lost();
  EXPECT_EQ(rig.exchange.sent.front(), "head 502");
  EXPECT_EQ(rig.exchange.sent.back(), "end");
}

// The store stands still for the length of an exchange with a target that is `strict`.
struct Slow : RecordRig {
  explicit Slow(Strict strict) : RecordRig(64 << 20, 10ms), recorder(*store, "other") {
    target.strict = strict;
    exchange.about.mode = Mode::Record;
    held.emplace(*writer, recorder);
  }
  // Besides the one that the writer is held with.
  [[nodiscard]] size_t on_tape() const { return store->stored_recordings() - 1; }

  store::Recorder recorder;
};

TEST(StrictRecording, AResponseThatIsResetIsNotOnTapeAfterwards) {
  for (const Strict strict : {Strict::No, Strict::Yes}) {
    Slow rig(strict);
    rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
      http::ResponseHead head;
      head.status = 200;
      CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
      CO_TRY_VOID(exchange.write_now({"body", std::nullopt, false}));
      co_return exchange.end({});
    };
    rig.run();
    const bool is_strict = strict == Strict::Yes;
    EXPECT_EQ(rig.exchange.sent.back(), is_strict ? "reset" : "end");
    EXPECT_EQ(rig.on_tape(), is_strict ? 0U : 1U) << "late, and all the same";
    EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
    EXPECT_EQ(rig.count(Counter::IncompleteStoreSlow), 1U);
    EXPECT_EQ(rig.exchange.about.outcome, is_strict ? Outcome::Failed : Outcome::Forwarded);
    EXPECT_EQ(rig.exchange.about.error, is_strict ? "store_error" : "");
  }
}

TEST(StrictRecording, NeitherIsAFailureOfTheOrigin) {
  for (const Strict strict : {Strict::No, Strict::Yes}) {
    Slow rig(strict);
    rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
      const Error died{Code::Refused, "nobody is there", Origin::Upstream, Retry::No, 0};
      auto told = co_await exchange::respond_failure(exchange, died);
      EXPECT_TRUE(told);
      co_return std::unexpected(died);
    };
    rig.run();
    const bool is_strict = strict == Strict::Yes;
    EXPECT_EQ(rig.exchange.sent.back(), is_strict ? "reset" : "end");
    EXPECT_EQ(rig.on_tape(), is_strict ? 0U : 1U);
    EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  }
}

TEST(StrictRecording, ALongBodyThatTheStoreDoesNotKeepUpWithEnds) {
  for (const Strict strict : {Strict::No, Strict::Yes}) {
    Slow rig(strict);
    const std::string segment(store::kSegmentBytes, 'x');
    rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
      http::ResponseHead head;
      head.status = 200;
      CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
      const exchange::BodyPiece piece{segment, std::nullopt, false};
      for (int i = 0; i < 20; ++i) {  // more than a worker may have in flight
        CO_TRY_VOID(co_await exchange.write_body(piece));
        co_await rig.next_turn();
      }
      co_return exchange.end({});
    };
    rig.run();
    EXPECT_EQ(rig.served->has_value(), strict == Strict::No);
    EXPECT_EQ(rig.exchange.sent.back() == "end", strict == Strict::No);
    EXPECT_EQ(rig.on_tape(), 0U);
    EXPECT_EQ(rig.count(Counter::RecordingDropped), 1U);
  }
}

// What a late answer consists of.
enum class Late { HeadAlone, HeadMessageAndTrailers };
const std::string kMessage("\0\0\0\0\2hi", 7);

void make_call(RecordRig& rig, std::string_view timeout) {
  rig.exchange.head.version = http::Version::Http2;
  rig.exchange.head.headers.add("content-type", "application/grpc");
  rig.exchange.head.headers.add("grpc-timeout", timeout);
}

// A call that is answered whole when its deadline has passed; `meanwhile` happens while its end is held.
void answer_late(RecordRig& rig, Late what, std::function<void()> meanwhile) {
  make_call(rig, "1n");
  rig.exchange.about.mode = Mode::Record;
  rig.origin.body = [&rig, what, meanwhile](Exchange& exchange) -> net::Task<Result<void>> {
    const bool is_head_alone = what == Late::HeadAlone;
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("content-type", "application/grpc");
    if (is_head_alone) head.headers.add("grpc-status", "4");
    CO_TRY_VOID(exchange.respond(head, is_head_alone ? http::EndStream::Yes : http::EndStream::No));
    asio::post(rig.io, meanwhile);
    if (is_head_alone) co_return Result<void>{};
    CO_TRY_VOID(exchange.write_now({kMessage, std::nullopt, false}));
    http::Headers trailers;
    trailers.add("grpc-status", "0");
    co_return exchange.end(trailers);
  };
  rig.run();
}

store::Recording only_recording(RecordRig& rig) {
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  const auto page = rig.store->list_recordings({});
  if (!page || page->items.empty()) return {};
  return rig.store->get("default", page->items.front().id).value_or(store::Recording{});
}

// Its client left at its deadline, and had seen nothing.
void expect_left(RecordRig& rig) {
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 1U);
  EXPECT_EQ(rig.count(Counter::RecordingComplete), 0U);
  EXPECT_EQ(rig.exchange.about.error, "client_gone");
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.outcome, (store::Outcome{store::Outcome::Kind::Incomplete, 0, "client_gone"}));
  EXPECT_EQ(recording.response.status, 0);
  EXPECT_EQ(recording.response.headers.size(), 0U);
  EXPECT_EQ(recording.response_body.size, 0U);
  EXPECT_TRUE(recording.response_trailers.empty());
  ASSERT_EQ(recording.messages.size(), 1U);
  EXPECT_EQ(recording.messages[0].kind, store::Message::Kind::GrpcEnd);
}

TEST(RecordHandler, ACallAnsweredAfterItsDeadlineIsOneThatItsClientLeft) {
  for (const Late what : {Late::HeadAlone, Late::HeadMessageAndTrailers}) {
    RecordRig rig;
    answer_late(rig, what, [&] {
      rig.exchange.about.client_left = true;
      rig.group.cancel();
    });
    expect_left(rig);
    EXPECT_EQ(rig.exchange.sent.size(), what == Late::HeadAlone ? 0U : 2U) << "its end is held";
  }
}

TEST(RecordHandler, SoIsOneWhoseClientLeavesInTheMiddleOfSuchAnAnswer) {
  RecordRig rig;
  make_call(rig, "1n");
  rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    CO_TRY_VOID(exchange.write_now({kMessage, std::nullopt, false}));
    exchange.facts().client_left = true;
    exchange.facts().error = "client_gone";
    co_return fail(Code::Reset, "the client reset the stream", Origin::Downstream);
  };
  rig.run();
  expect_left(rig);
}

TEST(RecordHandler, WhatIsLeftWhenAllWereToldToEndSaysSo) {
  for (const bool told : {false, true}) {
    RecordRig rig;
    rig.interrupted = told;
    rig.origin.body = [](Exchange& exchange) -> net::Task<Result<void>> {
      http::ResponseHead head;
      head.status = 200;
      CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
      CO_TRY_VOID(exchange.write_now({"begin", std::nullopt, false}));
      exchange.facts().client_left = true;
      co_return fail(Code::Reset, "the client reset the connection", Origin::Downstream);
    };
    rig.run();
    const store::Recording recording = only_recording(rig);
    EXPECT_EQ(recording.outcome.reason, told ? "interrupted" : "client_gone");
    EXPECT_TRUE(was_left_by_client(recording)) << "as which it is replayed";
    EXPECT_EQ(store::replay_rank_of(recording), told ? store::ReplayRank::LastResort : store::ReplayRank::Left);
  }
}

TEST(RecordHandler, UnlessTheClientIsStillThere) {
  for (const Late what : {Late::HeadAlone, Late::HeadMessageAndTrailers}) {
    RecordRig rig;
    answer_late(rig, what, [] {});
    EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 0U);
    EXPECT_EQ(rig.count(Counter::RecordingComplete), 1U);
    const bool is_head_alone = what == Late::HeadAlone;
    EXPECT_EQ(rig.exchange.sent.back(), is_head_alone ? "head 200 end" : "end");
    const store::Recording recording = only_recording(rig);
    EXPECT_EQ(recording.response.status, 200);
    EXPECT_EQ(recording.response_body.inline_bytes, is_head_alone ? "" : kMessage);
    EXPECT_EQ(recording.response_trailers.size(), is_head_alone ? 0U : 1U);
    EXPECT_EQ(recording.messages.size(), is_head_alone ? 2U : 3U);
  }
}

// False: this machine was too slow for it to be before the deadline.
bool answer_around_the_deadline(std::chrono::milliseconds timeout) {
  RecordRig rig;
  make_call(rig, std::to_string(timeout.count()) + "m");
  rig.exchange.about.began = exchange::Clock::now();
  bool in_time = false;
  rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("content-type", "application/grpc");
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    CO_TRY_VOID(exchange.write_now({kMessage, std::nullopt, false}));
    in_time = exchange::Clock::now() < exchange.facts().began + timeout;
    asio::steady_timer timer(rig.io, exchange.facts().began + timeout);
    auto [error] = co_await timer.async_wait(net::kToken);
    EXPECT_FALSE(error);
    CO_TRY_VOID(exchange.write_now({kMessage, std::nullopt, false}));
    asio::post(rig.io, [&] {
      rig.exchange.about.client_left = true;
      rig.group.cancel();
    });
    co_return exchange.end({});
  };
  rig.run();
  if (!in_time) return false;
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.outcome.kind, store::Outcome::Kind::Incomplete);
  EXPECT_EQ(recording.response.status, 200);
  EXPECT_EQ(recording.response_body.inline_bytes, kMessage);
  return true;
}

TEST(RecordHandler, WhatCameBeforeTheDeadlineTheClientHasSeen) {
  const bool done = answer_around_the_deadline(100ms) || answer_around_the_deadline(1s);
  EXPECT_TRUE(done || answer_around_the_deadline(8s));
}

TEST(RecordHandler, AFailureThatItsClientDidNotWaitForIsNone) {
  RecordRig rig;
  make_call(rig, "1n");
  rig.exchange.about.mode = Mode::Record;
  rig.origin.body = [&](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 502;
    CO_TRY_VOID(exchange.respond(head, http::EndStream::Yes));
    exchange.facts().client_left = true;
    co_return fail(Code::Reset, "the origin reset the connection", Origin::Upstream);
  };
  rig.run();
  EXPECT_EQ(rig.count(Counter::RecordingFailed), 0U);
  expect_left(rig);
}

TEST(RecordHandler, ThatTheServerSpokeFirstIsInTheKeyOfALateAnswerToo) {
  RecordRig rig;
  rig.exchange.pieces = {{kMessage.substr(0, 2), {}, {}}, {kMessage.substr(2), {}, {}}};
  make_call(rig, "1n");
  rig.origin.body = [](Exchange& exchange) -> net::Task<Result<void>> {
    CO_TRY_VOID(co_await exchange.read_body());
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("content-type", "application/grpc");
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    co_return exchange.end({});
  };
  rig.run();
  EXPECT_EQ(rig.count(Counter::BodyKeyRaw), 0U);
  const store::Recording recording = only_recording(rig);
  EXPECT_EQ(recording.request_body_digest, store::Digest{});
  EXPECT_EQ(recording.dimensions.size(), 1U) << "the server spoke first";
}

}  // namespace
}  // namespace tapdeck::modes

// What is made of an exchange in the end: a recording of which the store's queue refused a part is lost, told and
// counted once, however it ends; a gRPC call that is answered too late is one that its client left.
#include "daemon/modes/record.h"

#include <gtest/gtest.h>
#include <asio/io_context.hpp>

#include <functional>

#include "daemon/exchange/error_response.h"
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
  RecordRig()
      : store(store::open_store(directory.path())),
        writer(*store::StoreWriter::start(*store, {.queue_bytes = store::kSegmentBytes / 2})),
        metrics(registry.create()),
        link(io.get_executor(), *writer, metrics, {.hold_limit = 10s}),
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
    RecordHandler handler(context, origin);
    auto serve = [&]() -> net::Task<> { served = co_await handler.serve(exchange, target, nullptr, "default"); };
    group.spawn(serve());
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (group.size() > 0 && std::chrono::steady_clock::now() < limit) io.run_one_for(100ms);
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

  TestDirectory directory;
  std::unique_ptr<store::ExchangeStore> store;
  std::unique_ptr<store::StoreWriter> writer;
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

// A call that is answered whole when its deadline has passed; `meanwhile` happens while its end is held.
void answer_late(RecordRig& rig, std::function<void()> meanwhile) {
  rig.exchange.head.version = http::Version::Http2;
  rig.exchange.head.headers.add("content-type", "application/grpc");
  rig.exchange.head.headers.add("grpc-timeout", "1n");
  rig.exchange.about.mode = Mode::Record;
  rig.origin.body = [&rig, meanwhile](Exchange& exchange) -> net::Task<Result<void>> {
    http::ResponseHead head;
    head.status = 200;
    CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
    asio::post(rig.io, meanwhile);
    co_return exchange.end({});
  };
  rig.run();
}

TEST(RecordHandler, ACallAnsweredAfterItsDeadlineIsOneThatItsClientLeft) {
  RecordRig rig;
  answer_late(rig, [&] {
    rig.exchange.about.client_left = true;
    rig.group.cancel();
  });
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 1U);
  EXPECT_EQ(rig.count(Counter::RecordingComplete), 0U);
  EXPECT_EQ(rig.exchange.about.error, "client_gone");
  EXPECT_EQ(rig.exchange.sent.back(), "head 200");
}

TEST(RecordHandler, UnlessTheClientIsStillThere) {
  RecordRig rig;
  answer_late(rig, [] {});
  EXPECT_EQ(rig.count(Counter::RecordingIncomplete), 0U);
  EXPECT_EQ(rig.count(Counter::RecordingComplete), 1U);
  EXPECT_EQ(rig.exchange.sent.back(), "end");
}

}  // namespace
}  // namespace tapdeck::modes

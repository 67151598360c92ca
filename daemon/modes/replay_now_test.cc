// The hot path of replay beside other workers: the turn that it takes is the one that it looked at.
#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <functional>

#include "daemon/exchange/exchange_decorator.h"
#include "daemon/exchange/fake_exchange.h"
#include "daemon/modes/replay.h"
#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

// Something happens while serve_now() is on its way.
class Interleaved final : public exchange::ExchangeDecorator {
 public:
  Interleaved(exchange::Exchange& inner, std::function<void()> meanwhile)
      : ExchangeDecorator(inner), meanwhile_(std::move(meanwhile)) {}
  size_t writable_now() const override {
    meanwhile_();
    return inner_.writable_now();
  }

 private:
  std::function<void()> meanwhile_;
};

struct Request {
  Request() {
    exchange.head.method = "GET";
    exchange.head.target = "/a";
    exchange.head.authority = "api.test";
    exchange.from.destination = *Endpoint::parse("192.0.2.7:80");
  }
  exchange::FakeExchange exchange;
};

// Three answers to GET /a on tape, all of them in memory.
struct ReplayRig {
  ReplayRig() {
    target.tape = std::make_shared<Tape>(Tape{*store->open_take("default", store::Append::No),
                                              store::KeyHasher(*store->key_secret("default")), 1, nullptr});
    target.session = "default";
    for (int i = 0; i < 3; ++i) record();
    for (int i = 0; i < 3; ++i) look_up();
    cursors.rewind(Cursors::kAll);
  }
  void record() {
    const Request request;
    store::RecordingBuilder builder({target.tape->hasher, redactor, target.tape->take}, store->allocate_id(), 0, "http",
                                    "api.test", 80, request.exchange.head);
    http::ResponseHead head;
    head.status = 200;
    head.headers.add("Content-Length", "0");
    builder.response(head);
    builder.finish({store::Outcome::Kind::Complete, 0, {}});
    std::vector<store::PendingWrite> writes;
    builder.take_writes(writes);
    ASSERT_TRUE(store->write(writes, store::Durability::Wal));
  }
  void look_up() {
    Request request;
    exchange::FakeExchange& exchange = request.exchange;
    asio::io_context io{1};
    auto run = [&]() -> net::Task<> {
      Asking asking(exchange, *target.tape, nullptr, metrics);
      const Question question = asking.finish();
      key = cursor_key(target.tape->id, exchange.flow(), question.key);
      auto found = co_await handler.find(exchange, target, question, nullptr);
      EXPECT_TRUE(found && found->item != nullptr);
    };
    asio::co_spawn(io, run(), asio::detached);
    io.run();
  }
  exchange::Served serve_now(std::function<void()> meanwhile) {
    Request request;
    exchange::FakeExchange& exchange = request.exchange;
    Interleaved interleaved(exchange, std::move(meanwhile));
    const auto served = handler.serve_now(interleaved, target, nullptr);
    EXPECT_EQ(exchange.sent.empty(), served == exchange::Served::No);
    return served;
  }
  std::atomic<uint64_t>& cursor() { return *cursors.get(key); }

  TestDirectory directory;
  std::unique_ptr<store::ExchangeStore> store = store::open_store(directory.path());
  store::Redactor redactor{{}, store->redaction_secret()};
  net::ThreadPool readers{1};
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  Cursors cursors;
  TargetState target;
  CursorKey key;
  ReplayHandler handler{
      {.store = store.get(), .redactor = &redactor, .readers = &readers, .cursors = &cursors, .metrics = &metrics}};
};

TEST(ServeNow, LeavesATurnThatAnotherWorkerTookMeanwhile) {
  ReplayRig rig;
  EXPECT_EQ(rig.serve_now([&] { ++rig.cursor(); }), exchange::Served::No) << "the first answer is given already";
  EXPECT_EQ(rig.cursor(), 1U);
  EXPECT_EQ(rig.serve_now([] {}), exchange::Served::Yes);
  EXPECT_EQ(rig.cursor(), 2U);
}

TEST(ServeNow, DoesNotUndoARewind) {
  ReplayRig rig;
  rig.cursor() = 1;
  EXPECT_EQ(rig.serve_now([&] { rig.cursors.rewind(Cursors::kAll); }), exchange::Served::No);
  EXPECT_EQ(rig.cursor(), 0U);
}

TEST(ServeNow, GivesTheLastAnswerAgainWhoeverElseDoes) {
  ReplayRig rig;
  rig.cursor() = 5;
  EXPECT_EQ(rig.serve_now([&] { ++rig.cursor(); }), exchange::Served::Yes);
  EXPECT_EQ(rig.cursor(), 7U);
}

}  // namespace
}  // namespace tapdeck::modes

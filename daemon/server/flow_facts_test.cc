#include "daemon/server/flow_facts.h"

#include <gtest/gtest.h>
#include <asio/io_context.hpp>

#include "daemon/base/test_directory.h"
#include "daemon/server/session_rig.h"
#include "daemon/tls/cert_mint.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::server {
namespace {

using tls::testing::must;

// A worker's parts, none of which does anything here.
struct Parts {
  Parts() {
    store::StoreOptions options;
    options.path = folder.path() + "/store";
    store = must(store::ExchangeStore::open(options, store::Access::ReadWrite));
    writer = must(store::StoreWriter::start(*store));
    link.emplace(io.get_executor(), *writer, metrics, modes::StoreLinkOptions{});
    dial.executor = io.get_executor();
    dial.metrics = &metrics;
    pool.emplace(dial, upstream::PoolOptions{});
    context.emplace(WorkerContext{io.get_executor(), metrics,       view,        dial,   *pool,         handler,
                                  handler,           observer,      *server_tls, leaves, store.get(),   &*link,
                                  readers,           config.limits, config.tls,  bypass, config.routes, {},
                                  nullptr,           nullptr});
  }
  ~Parts() { link->close(); }
  void begin_take(uint64_t number) {
    runtime.update([&](modes::RuntimeSnapshot& snapshot) {
      const store::KeyHasher hasher(must(store->key_secret("default")));
      snapshot.targets[0].tape = std::make_shared<modes::Tape>(modes::Tape{{"default", 1, number}, hasher, number, {}});
    });
  }

  TestDirectory folder;
  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics = registry.create();
  config::Config config;
  config::BypassRules bypass;
  modes::RuntimeState runtime;
  modes::RuntimeView view{runtime};
  asio::thread_pool readers{1};
  FakeHandler handler;
  CountingObserver observer;
  std::unique_ptr<tls::ServerContext> server_tls = must(tls::ServerContext::create());
  std::unique_ptr<tls::CertificateAuthority> ca = must(tls::CertificateAuthority::create_in_memory({}));
  std::unique_ptr<tls::CertificateAuthority> untrusted = must(tls::CertificateAuthority::create_untrusted());
  tls::LeafCache leaves{*ca, *untrusted};
  std::unique_ptr<store::ExchangeStore> store;
  std::unique_ptr<store::StoreWriter> writer;
  std::optional<modes::StoreLink> link;
  upstream::DialContext dial;
  std::optional<upstream::Pool> pool;
  std::optional<WorkerContext> context;
};

TEST(FlowFacts, ATakeOutlivesTheSnapshotItWasReadFrom) {
  Parts parts;
  parts.begin_take(1);
  const FlowFacts facts(*parts.context, {});
  const auto take = facts.open_take();
  ASSERT_TRUE(take);
  for (uint64_t number = 2; number < 10; ++number) {
    parts.begin_take(number);
    EXPECT_FALSE(facts.is_sealed());  // reads the newest, and lets go of the one before
  }
  EXPECT_EQ(take->number, 1U);
  EXPECT_EQ(take->session, "default");
}

}  // namespace
}  // namespace tapdeck::server

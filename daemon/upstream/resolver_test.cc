#include "daemon/upstream/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/base/eventually.h"
#include "daemon/base/test_descriptors.h"
#include "daemon/net/task_group.h"
#include "daemon/upstream/dns_rig.h"
#include "daemon/upstream/name_cache.h"

namespace tapdeck::upstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

template <class Ask>
auto run(Ask ask) {
  using Value = typename decltype(ask())::value_type;
  asio::io_context io(1);
  std::optional<Value> out;
  asio::co_spawn(io, [&]() -> net::Task<> { out.emplace(co_await ask()); }, asio::detached);
  io.run();
  return std::move(*out);
}

std::vector<std::string> texts(const std::vector<Endpoint>& addresses) {
  std::vector<std::string> out;
  for (const Endpoint& address : addresses) out.push_back(address.ip());
  return out;
}

std::string failure(Resolver& resolver, const std::string& host) {
  auto result = run([&] { return resolver.resolve(host); });
  if (result) return "found";
  EXPECT_EQ(result.error().code, Code::Dns);
  EXPECT_EQ(result.error().origin, Origin::Upstream);
  return result.error().message();
}

DnsAnswer by_name(const std::string& name, int type) {
  if (name == "both.test") return {.addresses = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}};
  if (name == "v4.test") return {.addresses = {"192.0.2.4"}, .ttl = 300};
  if (name == "v4-and-broken-v6.test") return {.code = type == 28 ? 2 : 0, .addresses = {"192.0.2.5"}};
  if (name == "empty.test") return {};
  if (name == "servfail.test") return {.code = 2};
  if (name == "refused.test") return {.code = 5};
  if (name == "silent.test") return {.silent = true};
  return {.code = 3};
}

TEST(Resolver, FindsAddressesOfBothFamilies) {
  ScriptedDns dns(by_name);
  Resolver resolver({{dns.server()}, 2s});
  auto both = run([&] { return resolver.resolve("both.test"); });
  ASSERT_TRUE(both) << both.error().message();
  EXPECT_THAT(texts(both->list), UnorderedElementsAre("192.0.2.1", "192.0.2.2", "2001:db8::1"));
  EXPECT_EQ(both->ttl, 30s);
  auto half = run([&] { return resolver.resolve("v4-and-broken-v6.test"); });
  ASSERT_TRUE(half) << half.error().message();
  EXPECT_THAT(texts(half->list), ElementsAre("192.0.2.5"));
}

TEST(Resolver, SaysWhichWayANameFails) {
  ScriptedDns dns(by_name);
  Resolver resolver({{dns.server()}, 300ms});
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT(failure(resolver, "nothing.test"),
                HasSubstr("look-up of nothing.test: the name does not exist (NXDOMAIN)"));
    EXPECT_THAT(failure(resolver, "empty.test"), HasSubstr("(NODATA)"));
    EXPECT_THAT(failure(resolver, "servfail.test"), HasSubstr("(SERVFAIL)"));
    EXPECT_THAT(failure(resolver, "refused.test"), HasSubstr("(REFUSED)"));
    EXPECT_THAT(failure(resolver, "silent.test"), HasSubstr("(timeout)"));
  }
  EXPECT_EQ(failure(resolver, "v4.test"), "found") << "failures must not spoil the next look-up";
}

TEST(Resolver, OutOfDescriptorsIsNoFailureOfAServer) {
  ScriptedDns dns(by_name);
  Resolver resolver({{dns.server()}, 2s});
  asio::io_context io(1);
  std::optional<Result<Addresses>> out;
  const auto ask = [&](const std::string& host) -> Result<Addresses> {
    asio::co_spawn(io, [&]() -> net::Task<> { out.emplace(co_await resolver.resolve(host)); }, asio::detached);
    io.restart();
    io.run();
    return std::move(*out);
  };
  EXPECT_TRUE(ask("v4.test"));  // what the loop needs for itself is open from now on
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  auto refused = ask("both.test");
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Exhausted);
  EXPECT_EQ(refused.error().origin, Origin::Internal);
  EXPECT_TRUE(ask("both.test")) << "it is over";
}

// The addresses of another name are sorted meanwhile, which c-ares asks the kernel about through sockets.
TEST(Resolver, OutOfDescriptorsForOneNameIsNoFailureOfAnother) {
  std::atomic<bool> asked{false}, answers{false};
  ScriptedDns dns([&](const std::string& name, int type) {
    if (name != "late.test") return by_name(name, type);
    asked = true;
    return DnsAnswer{.code = 3, .silent = !answers};
  });
  Resolver resolver({{dns.server()}, 3s});
  asio::io_context io(1);
  std::optional<Result<Addresses>> late, other;
  const auto ask = [&](std::string host, std::optional<Result<Addresses>>& out) -> net::Task<> {
    out.emplace(co_await resolver.resolve(std::move(host)));
  };
  asio::co_spawn(io, ask("late.test", late), asio::detached);
  io.poll();
  ASSERT_TRUE(eventually([&] { return asked.load(); }));
  asio::co_spawn(io, ask("both.test", other), asio::detached);
  {
    const DescriptorLimit none(descriptor_after(0));
    while (!other) io.run_one();
  }
  EXPECT_TRUE(*other) << other->error().message();
  answers = true;  // at the second try
  io.run();
  ASSERT_FALSE(*late);
  EXPECT_EQ(late->error().code, Code::Dns);
  EXPECT_EQ(late->error().origin, Origin::Upstream);
  EXPECT_THAT(late->error().message(), HasSubstr("NXDOMAIN"));
}

TEST(Resolver, AsksTheNextServerWhenOneFails) {
  ScriptedDns broken([](const std::string&, int) { return DnsAnswer{.code = 2}; });
  ScriptedDns dns(by_name);
  Resolver resolver({{broken.server(), dns.server()}, 2s});
  EXPECT_EQ(failure(resolver, "v4.test"), "found");
  EXPECT_THAT(failure(resolver, "servfail.test"), HasSubstr("SERVFAIL or REFUSED"));
}

TEST(Resolver, WaitsNoLongerThanItsTimeout) {
  ScriptedDns dns(by_name);
  Resolver resolver({{dns.server(), dns.server()}, 200ms});
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(failure(resolver, "silent.test"), HasSubstr("(timeout)"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST(Resolver, AsksOnceForOneNameHoweverManyWait) {
  std::atomic<bool> open{false};
  ScriptedDns dns([&](const std::string& name, int type) {
    while (!open) std::this_thread::yield();
    return by_name(name, type);
  });
  Resolver resolver({{dns.server()}, 5s});
  asio::io_context io(1);
  int found = 0;
  const auto ask = [&]() -> net::Task<> {
    auto answer = co_await resolver.resolve("v4.test");
    if (answer) ++found;
  };
  for (int i = 0; i < 10; ++i) asio::co_spawn(io, ask(), asio::detached);
  io.poll();  // all have asked
  open = true;
  io.run();
  EXPECT_EQ(found, 10);
  EXPECT_EQ(dns.questions(), 2) << "one for A, one for AAAA";
}

TEST(Resolver, CancelledTaskDoesNotWaitAndTheAnswerHurtsNobody) {
  ScriptedDns dns(by_name);
  auto resolver = std::make_unique<Resolver>(ResolverOptions{{dns.server()}, 60s});
  auto io = std::make_unique<asio::io_context>(1);
  auto group = std::make_unique<net::TaskGroup>(io->get_executor());
  Code code = Code::Internal;
  const auto ask = [&]() -> net::Task<> {
    auto answer = co_await resolver->resolve("silent.test");
    if (!answer) code = answer.error().code;
  };
  group->spawn(ask());
  io->poll();
  group->cancel();
  io->restart();
  io->run();
  EXPECT_EQ(code, Code::Cancelled);
  group.reset();
  io.reset();
  resolver.reset();  // answers the open question, whose asker and its executor are gone
}

TEST(NameCache, AsksAgainOnlyAfterTheTtlOrAFailure) {
  ScriptedDns dns(by_name);
  Resolver resolver({{dns.server()}, 2s});
  MetricsRegistry registry;
  NameCache cache(resolver, registry.create());
  const auto find = [&](const std::string& host) { return run([&] { return cache.find(host); }); };
  EXPECT_THAT(texts(*find("v4.test")), ElementsAre("192.0.2.4"));
  const int asked = dns.questions();
  EXPECT_THAT(texts(*find("v4.test")), ElementsAre("192.0.2.4"));
  EXPECT_EQ(dns.questions(), asked);
  cache.forget("v4.test");
  EXPECT_THAT(texts(*find("v4.test")), ElementsAre("192.0.2.4"));
  EXPECT_GT(dns.questions(), asked);
  EXPECT_FALSE(find("nothing.test"));
  const int failed = dns.questions();
  EXPECT_FALSE(find("nothing.test"));
  EXPECT_GT(dns.questions(), failed) << "a failure is not remembered";
}

}  // namespace
}  // namespace tapdeck::upstream

#include "daemon/proxy/proxied_exchange.h"

#include <gmock/gmock.h>

#include "daemon/exchange/fake_exchange.h"

namespace tapdeck::proxy {
namespace {

Forwarded to(std::string host) {
  Forwarded plan{Destination{}, {}, {}, {}};
  plan.destination.host = std::move(host);
  plan.destination.port = 80;
  plan.head.target = "/x";
  return plan;
}

TEST(ProxiedExchange, HowMuchTheClientTakesNowIsWhatItsConnectionSays) {
  exchange::FakeExchange inner;
  inner.writable = 100;
  inner.flushes_now = true;
  ProxiedExchange proxied(inner, to("api.test"));
  EXPECT_EQ(proxied.writable_now(), 100U) << "else a body longer than the window is written into it, and fails";
  EXPECT_TRUE(*proxied.try_flush());
}

TEST(ProxiedExchange, HeadAndDestinationAreThoseOfTheOrigin) {
  exchange::FakeExchange inner;
  inner.head.target = "http://api.test/x";
  ProxiedExchange proxied(inner, to("api.test"));
  EXPECT_EQ(proxied.request().target, "/x");
  EXPECT_NE(&proxied.flow(), &inner.from);
}

}  // namespace
}  // namespace tapdeck::proxy

#include "daemon/modes/break_off.h"

#include <chrono>
#include <utility>

#include "daemon/modes/pace.h"

namespace tapdeck::modes {

namespace {
// Long enough for a client that is not busy to read what came before; nobody waits for a broken response.
constexpr std::chrono::milliseconds kBeforeReset{20};

net::Task<> end_after(exchange::Exchange& exchange, Result<void> told, http::ResetCode code, Break how) {
  if (told && exchange.request().version == http::Version::Http2) {
    Sleeper sleeper;
    told = co_await sleeper.until(sleeper.now() + kBeforeReset);
  }
  ignore(told, "a client that is gone needs no reset, and gets none");
  how == Break::Cut ? exchange.cut(code) : exchange.reset(code);
}

}  // namespace

net::Task<> break_off(exchange::Exchange& exchange, http::ResetCode code, Break how) {
  auto told = co_await exchange.deliver();
  co_await end_after(exchange, std::move(told), code, how);
}

net::Task<> pass_on_break(exchange::Exchange& exchange, http::ResetCode code, Break how) {
  auto told = co_await exchange.flush();
  co_await end_after(exchange, std::move(told), code, how);
}

}  // namespace tapdeck::modes

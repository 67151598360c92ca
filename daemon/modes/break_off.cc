#include "daemon/modes/break_off.h"

#include <chrono>
#include <utility>

#include "daemon/modes/pace.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

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

net::Task<> read_to_end(exchange::Exchange& exchange) {
  while (true) {
    auto piece = co_await exchange.read_body();
    if (!piece || piece->end) co_return;
  }
}

// Over HTTP/1 the end of a client's side is told to who reads the connection. No other request is answered on it: what
// comes next is its reset.
net::Task<bool> ended_within(exchange::Exchange& exchange, std::chrono::milliseconds patience) {
  exchange.become_tunnel();
  const auto executor = co_await asio::this_coro::executor;
  net::TaskGroup listener(executor);
  net::Deadline deadline(executor, [&listener] { listener.cancel(); });
  deadline.set(patience);
  listener.spawn(read_to_end(exchange));
  co_await listener.join();
  co_return !deadline.is_expired();
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

net::Task<Result<void>> wait_to_be_left(exchange::Exchange& exchange, std::chrono::milliseconds patience) {
  auto told = co_await exchange.deliver();
  exchange::Facts& facts = exchange.facts();
  facts.only_waits = true;
  bool stayed = false;
  if (told && exchange.request().version == http::Version::Http2) {
    Sleeper sleeper;
    told = co_await sleeper.until(sleeper.now() + patience);
    stayed = told.has_value();
  } else if (told) {
    const bool ended = co_await ended_within(exchange, patience);
    stayed = !ended;
  }
  if (stayed) facts.error_detail = kLeftOnTape;
  if (told || told.error().code == Code::Timeout) exchange.reset(http::ResetCode::Cancel);
  co_return Result<void>{};
}

net::Task<bool> stays_for(exchange::Exchange& exchange, std::chrono::microseconds patience) {
  exchange::Facts& facts = exchange.facts();
  facts.only_waits = true;
  Sleeper sleeper;
  auto waited = co_await sleeper.until(sleeper.now() + patience);
  facts.only_waits = false;
  co_return waited && !facts.client_ended;
}

}  // namespace tapdeck::modes

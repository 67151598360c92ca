#include "daemon/modes/body_reading.h"

#include "daemon/modes/forward.h"
#include "daemon/net/task_group.h"

namespace tapdeck::modes {

net::Task<> read_body(exchange::Exchange& exchange, Asking& asking, BodyReading& reading, net::Deadline* patience) {
  while (!reading.is_over()) {
    if (patience != nullptr) patience->set(kRestOfBody);
    auto piece = co_await exchange.read_body();
    if (!piece) {
      const bool wanted = co_await net::is_wanted();
      if (wanted) reading.failure = piece.error();
      co_return;
    }
    asking.body(piece->bytes);
    reading.complete = piece->end;
  }
}

net::Task<> read_while_it_comes(exchange::Exchange& exchange, Asking& asking, BodyReading& reading) {
  const auto executor = co_await asio::this_coro::executor;
  net::TaskGroup reader(executor);
  net::Deadline patience(executor, [&reader] { reader.cancel(); });
  reader.spawn(read_body(exchange, asking, reading, &patience));
  while (reader.size() > 0) co_await reader.join();
}

}  // namespace tapdeck::modes

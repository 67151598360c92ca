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
  co_await reader.join_or_cancel();
}

net::Task<Result<Kept>> keep_body(ReplayedRequest& request, Asking& asking, size_t limit, Patience patience) {
  const auto feed = [&](std::string_view bytes) {
    asking.body(bytes);
    if (patience.deadline != nullptr) patience.deadline->set(patience.pause);
  };
  CO_TRY(whole, co_await request.buffer(limit, feed));
  co_return whole ? Kept::Whole : Kept::TooLong;
}

namespace {

net::Task<> store_result(net::Task<Result<Kept>> task, Result<Kept>& result) {
  result = co_await std::move(task);
}

}  // namespace

net::Task<Result<Kept>> keep_while_it_comes(ReplayedRequest& request, Asking& asking, size_t limit,
                                            std::chrono::milliseconds pause) {
  CO_TRY_VOID(co_await request.invite());  // not to be broken off
  const auto executor = co_await asio::this_coro::executor;
  net::TaskGroup reader(executor);
  net::Deadline patience(executor, [&reader] { reader.cancel(); });
  Result<Kept> kept;
  patience.set(pause);
  reader.spawn(store_result(keep_body(request, asking, limit, {&patience, pause}), kept));
  co_await reader.join_or_cancel();
  const bool wanted = co_await net::is_wanted();
  if (!wanted) co_return fail(Code::Cancelled, "the request is not wanted any more", Origin::Internal);
  if (!kept && kept.error().code == Code::Cancelled) co_return Kept::Paused;
  co_return kept;
}

}  // namespace tapdeck::modes

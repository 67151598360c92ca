#include "daemon/modes/grpc_call.h"

#include <algorithm>

#include "daemon/grpc/call.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"

namespace tapdeck::modes {

GrpcCall::GrpcCall(ReplayedRequest& request, const config::Route* route, Metrics& metrics, size_t keep)
    : request_(request),
      digests_(request.request(), rules_of(route), &metrics),
      timeout_(grpc::timeout_of(request.request().headers)),
      keep_(keep),
      keeps_(keep > 0) {
  said.client_ended = request.request_is_bodyless();
}

void GrpcCall::commit() {
  if (keeps_) request_.forget();
  keeps_ = false;
}

void GrpcCall::overflow() {
  // The first message is what a call is found by.
  if (said.client.empty() && request_bytes <= kFirstMessage) return;
  if (said.client.empty() && !too_long_) {
    too_long_ = true;
  } else if (!said.client.empty() && !first_is_kept_) {
    first_is_kept_ = true;
    keep_ = request_bytes;
  } else {
    commit();
  }
}

net::Task<Result<void>> GrpcCall::read() {
  is_waiting = true;
  Result<exchange::BodyPiece> piece;
  if (keeps_) {
    piece = co_await request_.read_ahead();
  } else {
    piece = co_await request_.read_body();
  }
  is_waiting = false;
  if (!piece) co_return std::unexpected(piece.error());
  digests_.feed(piece->bytes, said.client);
  request_bytes += piece->bytes.size();
  said.client_ended = piece->end;
  if (keeps_ && request_bytes > keep_) overflow();
  if (digests_.is_broken()) co_return fail(Code::Protocol, "the request is not gRPC messages", Origin::Downstream);
  co_return Result<void>{};
}

net::Task<bool> GrpcCall::wait_in_silence(std::chrono::nanoseconds patience) {
  const auto executor = co_await asio::this_coro::executor;
  net::Signal over(executor);
  net::Deadline deadline(executor, [&over] { over.notify(); });
  deadline.set(patience);
  is_waiting = true;
  const bool wanted = co_await net::is_wanted();
  if (wanted) co_await over.wait();
  is_waiting = false;
  co_return deadline.is_expired();
}

net::Task<bool> GrpcCall::stays_for(std::chrono::microseconds patience) {
  const auto left = time_left();
  if (left && *left <= patience) co_return false;
  co_return co_await wait_in_silence(patience);
}

net::Task<Result<void>> GrpcCall::wait_to_be_left(std::chrono::milliseconds patience) {
  // Its own deadline too: the one of the call may have passed while nothing waited.
  const auto left = time_left();
  std::chrono::nanoseconds longest = patience;
  if (left) longest = *left + kFarewell;
  const bool stayed = co_await wait_in_silence(longest);
  if (!stayed || time_left()) co_return Result<void>{};
  co_return fail(Code::Timeout, "the client did not leave again", Origin::Downstream);
}

net::Task<> GrpcCall::read_on(Result<void>& heard) {
  while (heard && said.client.empty() && !said.client_ended && !too_long_) heard = co_await read();
}

net::Task<Result<void>> GrpcCall::read_first(std::chrono::milliseconds patience) {
  const auto executor = co_await asio::this_coro::executor;
  Result<void> heard;
  net::TaskGroup reader(executor);
  net::Deadline deadline(executor, [&reader] { reader.cancel(); });
  deadline.set(patience);
  reader.spawn(read_on(heard));
  co_await reader.join();
  deadline.stop();
  // Who gave the call up meanwhile could not reach the reader.
  const bool wanted = co_await net::is_wanted();
  if (!wanted) co_return fail(Code::Cancelled, "the replay was given up before its head", Origin::Internal);
  // A wait that is cancelled has taken nothing from the client.
  if (!heard && heard.error().code == Code::Cancelled) co_return Result<void>{};
  co_return heard;
}

std::optional<std::chrono::nanoseconds> GrpcCall::time_left() {
  if (!timeout_) return std::nullopt;
  const std::chrono::nanoseconds gone = exchange::Clock::now() - request_.facts().began;
  // Not 0, which a Deadline takes for "none".
  return std::max(*timeout_ - gone, std::chrono::nanoseconds(1));
}

}  // namespace tapdeck::modes

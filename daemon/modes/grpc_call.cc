#include "daemon/modes/grpc_call.h"

#include <algorithm>

#include "daemon/grpc/call.h"

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
  if (keeps_ && request_bytes > keep_) commit();
  if (digests_.is_broken()) co_return fail(Code::Protocol, "the request is not gRPC messages", Origin::Downstream);
  co_return Result<void>{};
}

std::optional<std::chrono::nanoseconds> GrpcCall::time_left() {
  if (!timeout_) return std::nullopt;
  const std::chrono::nanoseconds gone = exchange::Clock::now() - request_.facts().began;
  // Not 0, which a Deadline takes for "none".
  return std::max(*timeout_ - gone, std::chrono::nanoseconds(1));
}

}  // namespace tapdeck::modes

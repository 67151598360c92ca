#include "daemon/modes/replayed_request.h"

#include <utility>

#include "daemon/base/byte_queue.h"

namespace tapdeck::modes {

bool awaits_invitation(exchange::Exchange& exchange) {
  const http::RequestHead& request = exchange.request();
  return !exchange.facts().client_invited && !exchange.request_is_bodyless() &&
         request.version != http::Version::Http10 && request.headers.has_token("expect", "100-continue");
}

net::Task<Result<void>> invite_body(exchange::Exchange& exchange) {
  if (!awaits_invitation(exchange)) co_return Result<void>{};
  http::ResponseHead head;
  head.status = 100;
  head.reason = "Continue";
  CO_TRY_VOID(exchange.inform(head));
  co_return co_await exchange.flush();
}

net::Task<Result<void>> ReplayedRequest::invite() {
  if (std::exchange(invited_, true)) co_return Result<void>{};
  co_return co_await invite_body(inner_);
}

net::Task<Result<exchange::BodyPiece>> ReplayedRequest::read_ahead() {
  auto piece = co_await inner_.read_body();
  if (!piece) co_return piece;
  ended_ = piece->end;
  keep(*piece);
  co_return piece;
}

void ReplayedRequest::keep(const exchange::BodyPiece& piece) {
  taken_ += piece.bytes.size();
  if (piece.bytes.empty() && !piece.chunk) return;
  const bool has_room = !stored_.empty() && stored_.back().bytes.size() < ByteQueue::kChunkBytes;
  if (!piece.chunk && has_room) {
    stored_.back().bytes += piece.bytes;
    return;
  }
  Stored& stored = stored_.emplace_back(std::string(piece.bytes), std::nullopt, std::string());
  if (!piece.chunk) return;
  stored.chunk_size = piece.chunk->size;
  stored.extension = piece.chunk->extension;
  taken_ += sizeof(Stored) + stored.extension.size();
}

net::Task<Result<exchange::BodyPiece>> ReplayedRequest::read_body() {
  if (stored_.empty() && !ended_) co_return co_await inner_.read_body();
  exchange::BodyPiece piece;
  if (!stored_.empty()) {
    current_ = std::move(stored_.front());
    stored_.pop_front();
    piece.bytes = current_.bytes;
    if (current_.chunk_size) piece.chunk = http::ChunkStart{*current_.chunk_size, current_.extension};
  }
  piece.end = stored_.empty() && ended_;
  co_return piece;
}

}  // namespace tapdeck::modes

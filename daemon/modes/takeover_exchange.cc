#include "daemon/modes/takeover_exchange.h"

#include <algorithm>

namespace tapdeck::modes {

using exchange::BodyPiece;

namespace {

net::Task<Result<void>> nothing_to_write() {
  co_return Result<void>{};
}

}  // namespace

Sent TakeoverExchange::sent() const {
  store::Sha256 running = sha_;
  return {status_, length_, coding_, bytes_, bytes_ == 0 ? store::Digest{} : hasher_.finish(running)};
}

Result<void> TakeoverExchange::inform(const http::ResponseHead& head) {
  return status_ != 0 ? Result<void>{} : inner_.inform(head);
}

Result<void> TakeoverExchange::respond(const http::ResponseHead& head, http::EndStream end) {
  if (status_ == 0) {
    status_ = head.status;
    length_ = value_of(head, "content-length");
    coding_ = value_of(head, "content-encoding");
    return inner_.respond(head, end);
  }
  return end == http::EndStream::Yes ? inner_.end({}) : Result<void>{};
}

bool TakeoverExchange::trim(const BodyPiece& piece) {
  passed_ = piece;
  const uint64_t known = std::min<uint64_t>(behind_, piece.bytes.size());
  behind_ -= known;
  passed_.bytes.remove_prefix(known);
  if (passed_.bytes.empty() && known > 0) return false;
  if (passed_.chunk) passed_.chunk->size -= std::min(passed_.chunk->size, known);
  sha_.update(passed_.bytes);
  bytes_ += passed_.bytes.size();
  return true;
}

net::Task<Result<void>> TakeoverExchange::write_body(const BodyPiece& piece) {
  return trim(piece) ? inner_.write_body(passed_) : nothing_to_write();
}

Result<void> TakeoverExchange::write_now(const BodyPiece& piece) {
  return trim(piece) ? inner_.write_now(passed_) : Result<void>{};
}

}  // namespace tapdeck::modes

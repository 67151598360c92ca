#include "daemon/modes/request_source.h"

#include <utility>

namespace tapdeck::modes {

using exchange::BodyPiece;

namespace {
// A refused stream is refused within a round trip: what a client sends meanwhile is about its initial window.
constexpr size_t kKeptBytes = 65536;
}  // namespace

net::Task<Result<BodyPiece>> RequestSource::read() {
  if (std::exchange(repeat_, false) && (!kept_.empty() || ended_)) co_return BodyPiece{kept_, std::nullopt, ended_};
  auto piece = co_await exchange_.read_body();
  if (!piece) co_return piece;
  ended_ = piece->end;
  if (piece->bytes.empty()) co_return piece;
  if (keep_ == Keep::Yes && !lost_ && kept_.size() + piece->bytes.size() <= kKeptBytes) {
    kept_.append(piece->bytes);
  } else {
    lost_ = true;
    kept_.clear();
  }
  co_return piece;
}

}  // namespace tapdeck::modes

#include "daemon/modes/limited_exchange.h"

#include <charconv>

#include "daemon/exchange/error_response.h"

namespace tapdeck::modes {

using exchange::BodyPiece;

namespace {

std::unexpected<Error> too_large(Origin origin) {
  return std::unexpected(exchange::body_limit(origin));
}

}  // namespace

std::optional<uint64_t> content_length_of(const http::Headers& headers) {
  const auto length = headers.find("content-length");
  uint64_t bytes = 0;
  if (!length) return std::nullopt;
  const auto [rest, error] = std::from_chars(length->data(), length->data() + length->size(), bytes);
  if (error != std::errc() || rest != length->data() + length->size()) return std::nullopt;
  return bytes;
}

Result<void> LimitedExchange::check_request() const {
  if (content_length_of(inner_.request().headers).value_or(0) > request_limit_) return too_large(Origin::Downstream);
  return {};
}

net::Task<Result<BodyPiece>> LimitedExchange::read_body() {
  auto piece = co_await inner_.read_body();
  if (!piece) co_return piece;
  request_bytes_ += piece->bytes.size();
  if (request_bytes_ > request_limit_) co_return too_large(Origin::Downstream);
  co_return piece;
}

Result<void> LimitedExchange::respond(const http::ResponseHead& head, http::EndStream end) {
  const bool has_body = end == http::EndStream::No;
  if (inner_.facts().is_own_answer) response_limit_ = UINT64_MAX;
  if (has_body && content_length_of(head.headers).value_or(0) > response_limit_) return too_large(Origin::Upstream);
  return inner_.respond(head, end);
}

net::Task<Result<void>> LimitedExchange::write_body(const BodyPiece& piece) {
  response_bytes_ += piece.bytes.size();
  if (response_bytes_ > response_limit_) co_return too_large(Origin::Upstream);
  co_return co_await inner_.write_body(piece);
}

Result<void> LimitedExchange::write_now(const BodyPiece& piece) {
  response_bytes_ += piece.bytes.size();
  if (response_bytes_ > response_limit_) return too_large(Origin::Upstream);
  return inner_.write_now(piece);
}

void LimitedExchange::become_tunnel() {
  request_limit_ = response_limit_ = UINT64_MAX;  // what follows is no body
  inner_.become_tunnel();
}

}  // namespace tapdeck::modes

#include "daemon/exchange/exchange.h"

#include <utility>

namespace tapdeck::exchange {

http::ResponseHead json_head(int status, size_t body_bytes) {
  http::ResponseHead head;
  head.status = status;
  head.reason = http::reason_phrase(status);
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Content-Length", std::to_string(body_bytes));
  head.headers.add("Cache-Control", "no-store");
  return head;
}

net::Task<Result<void>> respond_json(Exchange& exchange, int status, std::string body) {
  const http::ResponseHead head = json_head(status, body.size());
  exchange.facts().is_own_answer = true;
  if (exchange.request().method == "HEAD") {
    CO_TRY_VOID(exchange.respond(head, http::EndStream::Yes));
    co_return Result<void>{};
  }
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  const BodyPiece piece{body, std::nullopt, true};
  auto written = co_await exchange.write_body(piece);
  if (!written) co_return written;
  const http::Headers no_trailers;
  co_return exchange.end(no_trailers);
}

}  // namespace tapdeck::exchange

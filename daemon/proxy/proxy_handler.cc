#include "daemon/proxy/proxy_handler.h"

#include <utility>
#include <variant>

#include "daemon/exchange/error_response.h"
#include "daemon/proxy/proxied_exchange.h"

namespace tapdeck::proxy {

using exchange::Exchange;
using exchange::Served;

Plan ProxyHandler::plan(const Exchange& exchange) const {
  return plan_request(exchange.request(), routes_, target_name_(exchange), is_proxy_);
}

Served ProxyHandler::serve_now(Exchange& exchange) {
  if (http::asks_for_tunnel(exchange.request())) return Served::No;
  Plan planned = plan(exchange);
  auto* forwarded = std::get_if<Forwarded>(&planned);
  if (forwarded == nullptr) return Served::No;
  ProxiedExchange proxied(exchange, std::move(*forwarded));
  return inner_.serve_now(proxied);
}

net::Task<Result<void>> ProxyHandler::serve(Exchange& exchange) {
  if (http::asks_for_tunnel(exchange.request())) co_return co_await connect_.serve(exchange);
  Plan planned = plan(exchange);
  if (const auto* refused = std::get_if<Refused>(&planned)) co_return co_await refuse(exchange, *refused);
  if (const auto* own = std::get_if<OwnAnswer>(&planned)) co_return co_await answer(exchange, *own);
  ProxiedExchange proxied(exchange, std::move(std::get<Forwarded>(planned)));
  co_return co_await inner_.serve(proxied);
}

net::Task<Result<void>> ProxyHandler::answer(Exchange& exchange, const OwnAnswer& own) {
  exchange.facts().outcome = Outcome::Failed;
  exchange.facts().error = "max_forwards";
  exchange.facts().is_own_answer = true;
  CO_TRY_VOID(exchange.respond(own.head, own.body.empty() ? http::EndStream::Yes : http::EndStream::No));
  if (own.body.empty()) co_return Result<void>{};
  const exchange::BodyPiece piece{own.body, std::nullopt, true};
  auto written = co_await exchange.write_body(piece);
  if (!written) co_return written;
  const http::Headers no_trailers;
  co_return exchange.end(no_trailers);
}

net::Task<Result<void>> ProxyHandler::refuse(Exchange& exchange, const Refused& why) {
  metrics_.add(Counter::ProxyNoRoute);
  exchange.facts().outcome = Outcome::Failed;
  exchange.facts().error = why.error;
  exchange.facts().error_detail = why.detail;
  std::string body =
      "{\"error\":" + exchange::json_string(why.error) + ",\"detail\":" + exchange::json_string(why.detail) + "}\n";
  co_return co_await exchange::respond_json(exchange, why.status, std::move(body));
}

}  // namespace tapdeck::proxy

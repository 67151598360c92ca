#include "daemon/modes/select.h"

#include <algorithm>
#include <utility>

#include "daemon/base/units.h"
#include "daemon/config/routes.h"
#include "daemon/exchange/error_response.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/body_reading.h"
#include "daemon/modes/grpc_miss.h"
#include "daemon/modes/limited_exchange.h"
#include "daemon/modes/miss.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/placeholder.h"
#include "daemon/modes/replayed_request.h"

namespace tapdeck::modes {

using exchange::Exchange;
using exchange::Served;

const config::Route* route_for(const std::vector<config::Route>& routes, const Exchange& exchange,
                               std::string_view target_name) {
  if (routes.empty()) return nullptr;
  // The reverse proxy has looked at the request as its client sent it.
  if (const auto& way = exchange.flow().route; way != nullptr && way->rule) return &routes[*way->rule];
  std::string storage;
  const OriginName origin = origin_of(exchange, storage);
  const config::RouteFacts asked = {.scheme = origin.scheme == "https" ? config::Scheme::Https : config::Scheme::Http,
                                    .host = origin.host,
                                    .port = origin.port,
                                    .path = http::split_target(exchange.request().target).path,
                                    .method = exchange.request().method,
                                    .target_name = target_name};
  for (const config::Route& route : routes) {
    if (!route.upstream && config::fits(route, asked)) return &route;
  }
  return nullptr;
}

const config::Route* connection_route(const std::vector<config::Route>& routes, config::Scheme scheme,
                                      std::string_view host, uint16_t port, std::string_view target_name) {
  const config::RouteFacts connection = {
      .scheme = scheme, .host = host, .port = port, .path = {}, .method = {}, .target_name = target_name};
  for (const config::Route& route : routes) {
    if (!route.upstream && config::fits(route, connection)) return &route;
  }
  return nullptr;
}

bool may_answer_from_tape(Mode mode, const std::vector<config::Route>& routes) {
  const auto from_tape = [](Mode one) { return one == Mode::Replay || one == Mode::Hybrid; };
  return from_tape(mode) ||
         std::ranges::any_of(routes, [&](const auto& route) { return route.mode && from_tape(*route.mode); });
}

bool forwards(const config::Route& route) {
  return (route.mode && *route.mode != Mode::Replay) || route.on_miss == config::OnMiss::Forward;
}

bool may_record(Mode mode, const std::vector<config::Route>& routes) {
  const auto records = [](Mode one) { return one == Mode::Record || one == Mode::Hybrid; };
  return records(mode) ||
         std::ranges::any_of(routes, [&](const auto& route) { return route.mode && records(*route.mode); });
}

std::optional<std::string> upstream_offer_of(const config::Route* route, config::Scheme scheme) {
  if (route == nullptr || route->upstream_http == config::UpstreamHttp::Auto) return std::nullopt;
  const bool secure = scheme == config::Scheme::Https;
  if (route->upstream_http == config::UpstreamHttp::V1) return secure ? "http/1.1" : "";
  return std::string(secure ? "h2" : upstream::kPriorKnowledge);
}

namespace {

// A client that sends nothing of its body for this long, although it announced more, waits for an answer.
constexpr std::chrono::milliseconds kStandsStill{5000};

// The target of this flow was detached: the flow goes on as if it had never been captured.
bool was_detached(const Exchange& exchange, const TargetState& target) {
  return exchange.flow().identity.tenant != target.tenant;
}

// A status alone is what gRPC clients show.
net::Task<Result<void>> tell(Exchange& exchange, int status, uint32_t grpc_status, std::string json) {
  if (grpc::is_call(exchange.request())) {
    const GrpcStatus call_status{grpc_status, std::move(json)};
    co_return send_status(exchange, call_status, StatusIn::Head);
  }
  json += '\n';
  co_return co_await exchange::respond_json(exchange, status, std::move(json));
}

}  // namespace

Served ModeHandler::serve_now(Exchange& exchange) {
  const TargetState& target = view_.get().targets[exchange.flow().identity.target];
  if (was_detached(exchange, target)) return Served::No;
  const config::Route* route = route_for(options_.routes, exchange, target.name);
  const Mode mode = route != nullptr && route->mode ? *route->mode : target.mode;
  if ((mode != Mode::Replay && mode != Mode::Hybrid) || replay_ == nullptr) return Served::No;
  if (is_bypassed(exchange, target)) return Served::No;
  exchange.facts().mode = mode;
  return replay_->serve_now(exchange, target, route);
}

net::Task<Result<void>> ModeHandler::serve(Exchange& exchange) {
  const std::shared_ptr<const RuntimeSnapshot> snapshot = view_.share();
  const TargetState& target = snapshot->targets[exchange.flow().identity.target];
  const config::Route* route = route_for(options_.routes, exchange, target.name);
  const std::string_view route_name = route != nullptr ? std::string_view(route->name) : "default";
  Mode mode = route != nullptr && route->mode ? *route->mode : target.mode;
  const bool bypassed = is_bypassed(exchange, target);
  if (was_detached(exchange, target) || (bypassed && mode != Mode::Replay)) mode = Mode::Passthrough;
  exchange.facts().mode = mode;
  exchange.facts().route_decides = route != nullptr && route->mode.has_value();
  exchange.facts().upstream_offer =
      upstream_offer_of(route, is_secure(exchange) ? config::Scheme::Https : config::Scheme::Http);
  if (bypassed && mode == Mode::Replay) co_return co_await miss_bypassed(exchange);
  const config::BodyOversize oversize =
      route != nullptr && route->body_oversize ? *route->body_oversize : options_.body_oversize;
  if (options_.max_body > 0 && oversize == config::BodyOversize::Error) {
    co_return co_await serve_limited(exchange, target, route, route_name);
  }
  co_return co_await serve_mode(exchange, target, route, route_name);
}

net::Task<Result<void>> ModeHandler::serve_limited(Exchange& exchange, const TargetState& target,
                                                   const config::Route* route, std::string_view route_name) {
  LimitedExchange limited(exchange, options_.max_body);
  auto small = limited.check_request();
  Result<void> served;
  if (small) {
    served = co_await serve_mode(limited, target, route, route_name);
  } else {
    auto told = co_await exchange::respond_failure(exchange, small.error());
    ignore(told, "that the body is too long is the news");
    served = small;
  }
  if (!served && exchange::is_body_limit(served.error())) metrics_.add(Counter::LimitMaxBody);
  co_return served;
}

net::Task<Result<void>> ModeHandler::serve_mode(Exchange& exchange, const TargetState& target,
                                                const config::Route* route, std::string_view route_name) {
  const Mode mode = exchange.facts().mode;
  const bool has_tape = target.tape != nullptr && replay_ != nullptr;
  const bool may_record = has_tape && record_ != nullptr && target.tape->take.number > 0;
  exchange.facts().is_own_answer = true;  // until an origin is asked
  switch (mode) {
    case Mode::Replay:
      if (!has_tape) break;
      if (route != nullptr && route->on_miss == config::OnMiss::Forward) {
        co_return co_await serve_or_ask(exchange, target, route, route_name, Missing::PassOn);
      }
      co_return co_await replay_->serve(exchange, target, route, route_name);
    case Mode::Hybrid:
      if (may_record && http::asks_for_tunnel(exchange.request())) {
        auto passed = co_await pass_on(exchange);
        note_outcome(exchange, passed);
        co_return passed;
      }
      if (may_record) co_return co_await serve_or_ask(exchange, target, route, route_name, Missing::Record);
      break;
    case Mode::Record:
      // What a proxy answers is about one tunnel, and those it opens leave nothing on the tape: a refusal alone on it
      // would answer for them.
      if (may_record && http::asks_for_tunnel(exchange.request())) {
        co_return co_await pass_on(exchange);
      }
      exchange.facts().is_own_answer = false;
      if (may_record) co_return co_await record_->serve(exchange, target, route, route_name);
      break;
    case Mode::Passthrough:
      co_return co_await pass_on(exchange);
  }
  co_return co_await refuse_without_session(exchange, target);
}

net::Task<Result<void>> ModeHandler::refuse_without_session(Exchange& exchange, const TargetState& target) {
  exchange.facts().error = "no_session";
  exchange.facts().error_detail = "there is no open take of session '" + target.session + "'";
  metrics_.add(Counter::StoreErrorOpen);
  std::string body = "{\"error\":\"no_session\",\"session\":" + exchange::json_string(target.session) +
                     ",\"detail\":\"the store has no open take for this session; see the daemon's log\"}";
  co_return co_await tell(exchange, 503, grpc::kUnavailable, std::move(body));
}

bool ModeHandler::is_bypassed(const Exchange& exchange, const TargetState& target) const {
  const bool has_rules = !target.bypass.empty() || !options_.bypass.empty();
  if (!has_rules || !exchange.tls().version.empty()) return false;
  std::string storage;
  const std::string_view host = origin_of(exchange, storage).host;
  const Endpoint& destination = exchange.flow().destination;
  return target.bypass.match(host, destination) || options_.bypass.match(host, destination);
}

net::Task<Result<void>> ModeHandler::miss_bypassed(Exchange& exchange) {
  exchange::Facts& facts = exchange.facts();
  facts.outcome = Outcome::Missed;
  facts.error = "not_recorded";
  facts.error_detail = "its host is bypassed: nothing of it is ever recorded";
  facts.is_own_answer = true;
  metrics_.add(exchange.flow().identity.label, Counter::MissOpaque);
  std::string json(kBypassedMiss);
  co_return co_await tell(exchange, 502, grpc::kFailedPrecondition, std::move(json));
}

net::Task<Result<void>> ModeHandler::pass_on(Exchange& exchange) {
  exchange.facts().outcome = Outcome::Forwarded;
  exchange.facts().is_own_answer = false;
  auto forwarded = co_await forward_.serve(exchange);
  if (!forwarded) exchange.facts().outcome = Outcome::Failed;
  co_return forwarded;
}

net::Task<Result<Answered>> ModeHandler::replay_grpc(ReplayedRequest& request, const TargetState& target,
                                                     const config::Route* route, std::string_view route_name) {
  GrpcReplay& grpc = replay_->grpc();
  co_return co_await grpc.try_serve(request, target, route, route_name, options_.body_buffer);
}

void ModeHandler::note_outcome(Exchange& exchange, const Result<void>& served) {
  if (served || served.error().origin != Origin::Upstream || exchange.facts().outcome != Outcome::Failed) return;
  // A refusal that was only passed on: the client may send it again.
  if (served.error().retry == Retry::Yes && !exchange.response_started()) return;
  exchange.facts().outcome = Outcome::Missed;
  metrics_.add(exchange.flow().identity.label, Counter::MissOrigin);
}

net::Task<Result<void>> ModeHandler::record_missing(Exchange& exchange, const TargetState& target,
                                                    const config::Route* route, std::string_view route_name,
                                                    const Found& found) {
  exchange.facts().is_own_answer = false;
  auto served = co_await record_->serve(exchange, target, route, route_name, found.takes);
  note_outcome(exchange, served);
  co_return served;
}

net::Task<Result<ModeHandler::Heard>> ModeHandler::hear(ReplayedRequest& buffered, Asking& asking,
                                                        const TargetState& target, const config::Route* route) {
  auto kept = co_await keep_while_it_comes(buffered, asking, options_.body_buffer, kRestOfBody);
  if (kept && *kept == Kept::Paused) {
    auto midway = co_await replay_->answer_midway(buffered, asking, target, route);
    if (midway && *midway == Midway::Answered) co_return Heard::Answered;
    // A body whose length was announced is mostly a slow upload, and may be on tape as a whole.
    const bool is_announced = buffered.request().headers.count("content-length") > 0;
    if (midway && *midway == Midway::Unknown && !is_announced) co_return Heard::Unmatched;
    if (!midway) {
      kept = std::unexpected(midway.error());
    } else if (*midway == Midway::Unknown) {
      kept = co_await keep_while_it_comes(buffered, asking, options_.body_buffer, kStandsStill);
      if (kept && *kept == Kept::Paused) co_return Heard::Unmatched;
    } else {
      kept = co_await keep_body(buffered, asking, options_.body_buffer);
    }
  }
  if (!kept) {
    CO_TRY_VOID(co_await exchange::respond_failure(buffered, kept.error()));
    co_return Heard::Answered;
  }
  if (*kept == Kept::Whole) co_return Heard::Whole;
  // Too long to hold until the key is known: forwarded and recorded, never matched.
  metrics_.add(Counter::LimitBodyBuffer);
  buffered.facts().not_matched = "body longer than limits.body_buffer (" + format_size(options_.body_buffer) +
                                 "): not looked for on tape; raise it";
  co_return Heard::Unmatched;
}

net::Task<Result<void>> ModeHandler::serve_or_ask(Exchange& exchange, const TargetState& target,
                                                  const config::Route* route, std::string_view route_name,
                                                  Missing missing) {
  ReplayedRequest buffered(exchange);
  const bool is_grpc = grpc::is_call(exchange.request());
  if (is_grpc) {
    CO_TRY(answered, co_await replay_grpc(buffered, target, route, route_name));
    if (answered == Answered::Yes) co_return Result<void>{};
  }
  // With a placeholder the origin would refuse it, and the refusal would be what the tape says from then on.
  const bool withheld = !placeholder_in(exchange.request()).empty();
  Asking asking(exchange, *target.tape, route, metrics_);
  if (withheld) asking.keep_beginning();
  bool whole = !is_grpc && !http::asks_for_tunnel(exchange.request());
  if (whole && has_body(exchange)) {
    CO_TRY(heard, co_await hear(buffered, asking, target, route));
    if (heard == Heard::Answered) co_return Result<void>{};
    whole = heard == Heard::Whole;
  }
  Question question;
  if (whole || withheld) question = asking.finish();
  Found found;
  if (whole && !replay_->is_surely_absent(target, question)) {
    auto looked = co_await replay_->find(exchange, target, question, route);
    if (looked) found = std::move(*looked);
    if (found.item != nullptr) {
      question.body_begin.reset();  // what is played may last
      co_return co_await replay_->play(exchange, found.item, route, nullptr, found.casting);
    }
  }
  if (withheld) co_return co_await replay_->explain_miss(exchange, target, question, route, route_name, found);
  if (missing == Missing::Record) co_return co_await record_missing(buffered, target, route, route_name, found);
  auto forwarded = co_await pass_on(buffered);
  note_outcome(exchange, forwarded);
  co_return forwarded;
}

}  // namespace tapdeck::modes

#include "daemon/modes/replay.h"

#include <utility>

#include "daemon/exchange/error_response.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/body_reading.h"
#include "daemon/modes/break_off.h"
#include "daemon/modes/miss.h"
#include "daemon/modes/near_misses.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/pace.h"
#include "daemon/modes/placeholder.h"
#include "daemon/modes/refused.h"
#include "daemon/modes/rendition.h"
#include "daemon/modes/rendition_send.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/modes/websocket_heads.h"
#include "daemon/modes/websocket_part.h"
#include "daemon/modes/websocket_replay.h"
#include "daemon/net/offload.h"
#include "store/client_certificates.h"

namespace tapdeck::modes {

using exchange::Exchange;
using exchange::Served;

namespace {

// It came instead of "100 Continue", to a client that waited for that with its body.
bool is_refusal(const Found& found) {
  if (found.item == nullptr) return false;
  const store::Recording& recording = found.item->recording;
  const auto& informational = recording.informational;
  const bool invited = std::ranges::find(informational, 100, &http::ResponseHead::status) != informational.end();
  return recording.request_body.size == 0 && !invited && recording.request.headers.has_token("expect", "100-continue");
}

// Nothing is made of a 200 that is not whole: it answers the conditions and the range that it was the answer to. What a
// client of HTTP/2 was told by a code has no words for others.
bool plays_unfinished(const http::RequestHead& request, const store::Recording& recording) {
  if (store::was_turned_away(recording)) return request.version == http::Version::Http2;
  const bool may_differ = request.method != "GET" || recording.response.status != 200;
  return may_differ || condition_of(request) == condition_of(recording.request);
}

// A recording that its client left, in its turn: to this request as to the one it was recorded for. There is no head to
// give where nothing had been answered.
bool is_left_for(const http::RequestHead& request, const store::Recording& recording) {
  const bool is_head_of_get = request.method == "HEAD" && recording.request.method != "HEAD";
  if (is_head_of_get) return recording.response.status != 0;
  return plays_unfinished(request, recording);
}

// What is unfinished, for when nothing else answers.
struct LastResort {
  Cursors& cursors;
  bool returns_turn;  // of what does not answer in the end
  Found found = {};
  CursorKey key = {};  // of `found`, which took its turn

  void set_aside(Found& seen, const CursorKey& its_key) {
    if (!seen.item || !seen.last_resort) return;
    leave();
    found = std::exchange(seen, {});
    key = its_key;
  }
  void leave() {
    pass_over(found, key);
    found = {};
  }
  void pass_over(const Found& seen, const CursorKey& its_key) {
    if (seen.item && returns_turn) Cursors::give_back_turn(*cursors.get(its_key));
  }
};

}  // namespace

config::Repeat repeat_of(const config::Route* route) {
  return route != nullptr ? route->repeat : config::Repeat::InOrder;
}

Answers answers_of(Exchange& exchange, const config::Route* route) {
  const bool asks =
      exchange.facts().mode == Mode::Hybrid || (route != nullptr && route->on_miss == config::OnMiss::Forward);
  return asks ? Answers::Complete : Answers::All;
}

void ReplayHandler::count_hit(Exchange& exchange, const ReplayItem& item) {
  exchange.facts().outcome = Outcome::Replayed;
  exchange.facts().recording = item.recording.id;
}

Served ReplayHandler::serve_now(Exchange& exchange, const TargetState& target, const config::Route* route) {
  const bool may_be = exchange.request_is_bodyless() && exchange.request().method != "CONNECT";
  if (!may_be || target.tape == nullptr) return Served::No;
  store::KeyBuilder builder = Asking::begin(exchange, *target.tape, exchange.request().method);
  const CursorKey key = cursor_key(target.tape->id, exchange.flow(), builder.key());
  HotEntry* entry = cache_.find(key, context_.store->generation());
  if (entry == nullptr) return Served::No;
  const uint64_t turn = entry->cursor->load(std::memory_order_relaxed);
  const config::Repeat repeat = repeat_of(route);
  const size_t index = pick(repeat, turn, entry->turns());
  if (index >= entry->ids.size()) return Served::No;
  const auto item = entry->items.find(entry->ids[index]);
  if (item == entry->items.end() || !can_send_now(*item->second)) return Served::No;
  if (refuses_again(context_, exchange, item->second->recording)) return Served::No;
  if (item->second->body.size() > exchange.writable_now()) return Served::No;
  if (pace_of(route) > 0 || !plays_as_recorded(exchange.request(), item->second->recording)) return Served::No;
  if (!take_turn_at(repeat, *entry->cursor, entry->turns(), turn)) return Served::No;
  context_.metrics->add(Counter::HotCacheHit);
  count_hit(exchange, *item->second);
  auto sent = send_now(exchange, *item->second);
  if (!sent) exchange.facts().outcome = Outcome::Failed;
  return Served::Yes;
}

bool ReplayHandler::is_surely_absent(const TargetState& target, const Question& question) {
  for (const auto& key : {std::optional(question.key), question.conditional, question.as_get, question.as_sent}) {
    if (key && !is_known_absent(target, *key)) return false;
  }
  context_.metrics->observe(Histogram::LookupMiss, 0);
  return true;
}

net::Task<Result<Found>> ReplayHandler::find(Exchange& exchange, const TargetState& target, const Question& question,
                                             const config::Route* route, Turn turn) {
  const auto began = exchange::Clock::now();
  const config::Repeat repeat = repeat_of(route);
  const Answers answers = answers_of(exchange, route);
  const http::RequestHead& request = exchange.request();
  CursorKey key = cursor_key(target.tape->id, exchange.flow(), question.key);
  Found found;
  LastResort last{*context_.cursors, repeat == config::Repeat::Once && turn == Turn::Take};
  // What was recorded beside the full responses (each 304, each answer that came early) once, and in the order of the
  // take with those: so a poller sees the change where it was recorded.
  if (repeat == config::Repeat::InOrder || repeat == config::Repeat::Once) {
    CO_TRY(first, co_await next_beside(key, target, question, answers));
    if (first) {
      key.key = *first;
      CO_TRY(in_turn, co_await find_key(key, target, config::Repeat::Once, answers, turn, request));
      found = in_turn;
    }
  }
  if (!found.item) {
    key.key = question.key;
    CO_TRY(plain, co_await find_key(key, target, repeat, answers, turn, request));
    found = plain;
  }
  if (!found.item && !found.exhausted && question.as_sent) {
    key.key = *question.as_sent;
    CO_TRY(as_sent, co_await find_key(key, target, repeat, answers, turn, request));
    found = as_sent;
  }
  last.set_aside(found, key);
  if (!found.item && !found.exhausted && question.as_get) {
    key.key = *question.as_get;
    const config::Repeat endless = repeat == config::Repeat::Once ? config::Repeat::InOrder : repeat;
    CO_TRY(get, co_await find_key(key, target, endless, answers, Turn::Look, request));
    if (!get.item || get.item->recording.response.status != 0) found = get;  // else it has nothing to say
  }
  if (!found.item && question.conditional) {
    key.key = *question.conditional;
    CO_TRY(conditional, co_await find_key(key, target, repeat, answers, turn, request));
    if (conditional.item) found = conditional;
    last.set_aside(found, key);
  }
  if (!found.item && question.early) {
    key.key = *question.early;
    CO_TRY(early, co_await find_key(key, target, repeat, answers, turn, request));
    if (early.item && !early.last_resort) {
      found = early;
    } else if (last.found.item) {
      last.pass_over(early, key);
    } else {
      last.set_aside(early, key);
    }
  }
  if (!found.item && last.found.item) {
    const store::Recording& unfinished = last.found.item->recording;
    if (plays_unfinished(request, unfinished)) {
      found = std::exchange(last.found, {});
    } else {
      found.unfinished = !store::was_turned_away(unfinished);
    }
  }
  last.leave();
  if (!found.item && repeat == config::Repeat::Once && answers == Answers::Complete) {
    CO_TRY(takes, co_await takes_of(key, target, question));
    found.takes = std::move(takes);
  }
  context_.metrics->observe(found.item ? Histogram::LookupHit : Histogram::LookupMiss,
                            std::chrono::duration<double>(exchange::Clock::now() - began).count());
  co_return found;
}

net::Task<Result<Found>> ReplayHandler::find_key(const CursorKey& key, const TargetState& target, config::Repeat repeat,
                                                 Answers answers, Turn turn, const http::RequestHead& request) {
  for (uint64_t passed = 0;; ++passed) {
    CO_TRY(found, co_await find_existing(key, target, repeat, answers, turn, passed));
    const bool is_left = found.item != nullptr && !found.last_resort && is_unfinished(found.item->recording);
    if (!is_left || is_left_for(request, found.item->recording)) co_return found;
    if (passed >= found.turns) co_return Found{};  // the index says that one is finished, and the recordings do not
  }
}

net::Task<Result<Found>> ReplayHandler::find_for_who_stays(Exchange& exchange, const TargetState& target,
                                                           const Question& question, const config::Route* route) {
  while (true) {
    CO_TRY(found, co_await find(exchange, target, question, route));
    const bool is_passed = found.item != nullptr && !found.last_resort && was_given_up(found.item->recording);
    if (!is_passed) co_return found;
    const auto patience = time_to_give_up(found.item->recording, context_.idle_timeout);
    const bool stays = co_await stays_for(exchange, patience);
    if (!stays) co_return found;
  }
}

net::Task<Result<std::vector<KeyTake>>> ReplayHandler::takes_of(CursorKey key, const TargetState& target,
                                                                const Question& question) {
  std::vector<KeyTake> takes;
  for (const auto& one : {std::optional(question.key), question.conditional}) {
    if (!one || is_known_absent(target, *one)) continue;
    key.key = *one;
    CO_TRY(entry, co_await load_entry(key, target, Answers::Complete));
    if (entry != nullptr && entry->take > 0) takes.push_back({*one, entry->take});
  }
  co_return takes;
}

net::Task<Result<Found>> ReplayHandler::find_refusal(Exchange& exchange, const TargetState& target,
                                                     const config::Route* route) {
  Asking asking(exchange, *target.tape, route, *context_.metrics);
  const Question question = asking.finish();
  CO_TRY(seen, co_await find(exchange, target, question, route, Turn::Look));
  if (!is_refusal(seen)) co_return Found{};
  CO_TRY(found, co_await find(exchange, target, question, route));
  co_return is_refusal(found) ? found : Found{};
}

net::Task<Result<std::optional<store::Key>>> ReplayHandler::next_beside(CursorKey key, const TargetState& target,
                                                                        const Question& question, Answers answers) {
  const CursorKey full_key = key;
  std::optional<store::Key> first;
  uint64_t soonest = UINT64_MAX;
  for (const auto& other : {question.conditional, question.early}) {
    if (!other) continue;
    key.key = *other;
    CO_TRY(id, co_await next_finished(key, target, answers));
    if (!id || *id >= soonest) continue;
    soonest = *id;
    first = other;
  }
  if (!first) co_return first;
  CO_TRY(full, co_await next_finished(full_key, target, answers));
  if (full && *full < soonest) first.reset();
  co_return first;
}

net::Task<Result<void>> ReplayHandler::play(Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                            const config::Route* route, Gate* gate,
                                            std::shared_ptr<WebSocketCasting> casting) {
  count_hit(exchange, *item);
  if (refuses_again(context_, exchange, item->recording)) {
    refuse_again(context_, exchange);
    co_return Result<void>{};
  }
  if (was_given_up(item->recording)) co_return co_await wait_to_be_left(exchange, context_.idle_timeout);
  if (store::was_turned_away(item->recording)) {
    exchange.reset(reset_code_of(item->recording));
    co_return Result<void>{};
  }
  const bool is_websocket = is_websocket_recording(item->recording);
  const http::ResponseHead& response = item->recording.response;
  auto refused = refusal_by_h1(exchange.request(), response, handshake_key(item->recording.request));
  if (refused && (!is_websocket || response.status == 101)) {
    exchange::note_failure(exchange.facts(), *refused);
    const std::string where = exchange.flow().destination_text();
    std::string body = exchange::json_of(*refused, where);
    co_return co_await exchange::respond_json(exchange, exchange::status_of(*refused), std::move(body));
  }
  if (is_websocket) {
    const WebSocketStage stage{context_.store, context_.readers, context_.metrics, context_.idle_timeout, casting};
    co_return co_await play_websocket(exchange, item, route, stage);
  }
  if (auto rendition = render(exchange.request(), item->recording)) {
    co_return co_await send_rendition(exchange, item, std::move(*rendition), *context_.store, *context_.readers);
  }
  const Sending how{pace_of(route), gate, context_.idle_timeout};
  co_return co_await send(exchange, item, *context_.store, *context_.readers, how);
}

net::Task<Result<void>> ReplayHandler::explain_miss(Exchange& exchange, const TargetState& target,
                                                    const Question& question, const config::Route* route,
                                                    std::string_view route_name, const Found& found) {
  store::KeyParts parts = question.parts;
  context_.redactor->redact(parts);
  if (found.unfinished) {  // without it, the recording would look the same
    const store::Digest condition = target.tape->hasher.of(condition_of(exchange.request()));
    parts.dimensions.push_back({std::string(kConditionDimension), condition});
  }
  const bool asks_origin = answers_of(exchange, route) == Answers::Complete;
  const store::ExchangeStore* store = context_.store;
  const std::string session = target.session;
  const AskedBody asked{exchange.request().headers, question.body_begin.value_or("")};
  bool asks_for_certificates = false, has_placeholder_in_body = false;
  auto search = [store, session, parts, asked, redactor = context_.redactor, &asks_for_certificates,
                 &has_placeholder_in_body] {
    has_placeholder_in_body = holds_placeholder(asked.begin);
    asks_for_certificates = store::asks_for_certificates(*store, session, parts);
    return near_misses(*store, session, parts, asked, *redactor, 3);
  };
  auto near = co_await net::offload(*context_.readers, search);
  Miss miss{.session = target.session,
            .route = route_name,
            .key = &question.key,
            .parts = &parts,
            .exhausted = found.exhausted,
            .has_placeholder = has_placeholder_in_body || has_placeholder(question.parts),
            .target = target.name,
            .rule = route,
            .withheld = asks_origin ? placeholder_in(exchange.request()) : std::string_view()};
  miss.asks_for_certificates = asks_for_certificates;
  if (near) {
    miss.nearest = std::move(near->nearest);
    miss.bodies = std::move(near->bodies);
  }
  Counter reason = found.exhausted ? Counter::MissExhausted : Counter::MissNoKey;
  if (!miss.nearest.empty()) {
    const auto& differs = miss.nearest.front().differs;
    if (differs.size() == 1 && differs.front().where == "body") reason = Counter::MissBody;
  }
  context_.metrics->add(exchange.flow().identity.label, reason);
  exchange.facts().outcome = Outcome::Missed;
  exchange.facts().error = "not_recorded";
  exchange.facts().error_detail = miss_reason(miss);
  co_return co_await exchange::respond_json(exchange, 502, miss_json(miss));
}

net::Task<Result<void>> ReplayHandler::serve(Exchange& exchange, const TargetState& target, const config::Route* route,
                                             std::string_view route_name) {
  if (grpc::is_call(exchange.request())) co_return co_await grpc_.serve(exchange, target, route, route_name);
  if (http::asks_for_tunnel(exchange.request())) {
    Asking asking(exchange, *target.tape, route, *context_.metrics);
    const Question question = asking.finish();
    const Found nothing;
    co_return co_await explain_miss(exchange, target, question, route, route_name, nothing);
  }
  if (awaits_invitation(exchange)) {
    auto refusal = co_await find_refusal(exchange, target, route);
    if (refusal && refusal->item != nullptr) co_return co_await play(exchange, refusal->item, route);
  }
  Asking asking(exchange, *target.tape, route, *context_.metrics);
  asking.keep_beginning();
  CO_TRY_VOID(co_await invite_body(exchange));
  if (has_body(exchange)) {
    BodyReading reading;
    co_await read_while_it_comes(exchange, asking, reading);
    const bool wanted = co_await net::is_wanted();
    if (!reading.is_over() && wanted) {  // it may be waiting for an answer
      ReplayedRequest request(exchange);
      auto midway = co_await answer_midway(request, asking, target, route);
      if (!midway) co_return co_await exchange::respond_failure(exchange, midway.error());
      if (*midway == Midway::Answered) co_return Result<void>{};
      reading.complete = request.has_ended();
      co_await read_body(exchange, asking, reading);
    }
    // Told so in our place, by the session: it stopped, perhaps for an answer that is not on tape.
    const bool stalled = !reading.is_over() && exchange.response_started();
    if (stalled || (reading.failure && reading.failure->code == Code::Timeout)) {
      note_missed(exchange, Counter::MissNoKey);
    }
    if (reading.failure) co_return co_await exchange::respond_failure(exchange, *reading.failure);
    if (!reading.complete) co_return fail(Code::Cancelled, "the client left inside its request", Origin::Internal);
  }
  Question question = asking.finish();
  if (has_body(exchange)) question.early = asking.early_key();
  auto found = co_await find_for_who_stays(exchange, target, question, route);
  if (!found) {
    exchange.facts().error = "store_error";
    co_return co_await exchange::respond_json(exchange, 500, exchange::json_of(found.error(), "-"));
  }
  if (found->item == nullptr) {
    co_return co_await explain_miss(exchange, target, question, route, route_name, *found);
  }
  question.body_begin.reset();  // what is played may last
  co_return co_await play(exchange, found->item, route, nullptr, found->casting);
}

}  // namespace tapdeck::modes

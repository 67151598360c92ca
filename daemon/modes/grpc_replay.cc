#include "daemon/modes/grpc_replay.h"

#include <algorithm>
#include <utility>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/break_off.h"
#include "daemon/modes/grpc_item.h"
#include "daemon/modes/grpc_miss.h"
#include "daemon/modes/grpc_playing.h"
#include "daemon/modes/pace.h"
#include "daemon/modes/placeholder.h"
#include "daemon/modes/question.h"
#include "daemon/modes/refused.h"
#include "daemon/net/deadline.h"
#include "daemon/net/offload.h"
#include "daemon/net/task_group.h"
#include "store/client_certificates.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;
using StepKind = GrpcStep::Kind;

namespace {

// How long a recorded head that came before the client's first message waits for it in replay. That it did may have
// been chance (a server that answers every call with its head at once), and then the head belongs to one call of many:
// the message says to which. Long for a client that sends both in one go, short for one that waits for the head.
constexpr std::chrono::milliseconds kOvertaken{50};

// Its client gave up, something finished has a turn behind it, and this client has not waited long enough.
bool may_go_on(const store::Recording& recording, GrpcCall& call, std::chrono::milliseconds idle_timeout) {
  if (call.said.head_sent || !was_given_up(recording)) return false;
  return exchange::Clock::now() - call.exchange().facts().began < idle_timeout;
}

StatusIn status_in(const GrpcCall& call) {
  return call.said.head_sent ? StatusIn::Trailers : StatusIn::Head;
}

}  // namespace

GrpcReplay::GrpcReplay(const ReplayContext& context) : context_(context), cache_(context.hot_bytes / 4) {}
GrpcReplay::~GrpcReplay() = default;

net::Task<Result<void>> GrpcReplay::perform(Playing& playing) {
  GrpcCall& call = playing.call;
  if (!call.said.head_sent && refuses_again(context_, call.exchange(), playing.item->recording)) {
    call.commit();
    playing.done = true;
    refuse_again(context_, call.exchange());
    co_return Result<void>{};
  }
  Sleeper sleeper;
  Pacer pacer(pace_of(playing.route), call.exchange().facts().began, sleeper);
  while (!playing.expired) {
    const GrpcStep step = playing.play->next(call.said);
    if (!pacer.is_instant() && step.kind != StepKind::ClientMessage && step.kind != StepKind::ClientEnd) {
      // Before the wait, which the deadline may break off: a write that is broken off loses the client.
      auto flushed = co_await call.exchange().flush();
      if (!flushed) co_return flushed;
      call.is_waiting = true;
      auto reached = co_await pacer.reach(call.exchange(), step.microseconds);
      call.is_waiting = false;
      if (!reached) co_return reached;
    }
    const store::Recording& recording = playing.item->recording;
    if (step.kind == StepKind::Finish) co_return co_await finish(playing);
    if (step.kind == StepKind::Head) {
      call.commit();
      for (const http::ResponseHead& head : recording.informational) CO_TRY_VOID(call.exchange().inform(head));
      const bool ends = is_head_only(recording);
      CO_TRY_VOID(call.exchange().respond(recording.response, ends ? http::EndStream::Yes : http::EndStream::No));
      call.said.head_sent = true;
      playing.done = ends;
      if (ends) co_return Result<void>{};
    } else if (step.kind == StepKind::Bytes) {
      auto sent = co_await playing.bytes.send(call.exchange(), *playing.item, step.offset, step.length);
      if (!sent) co_return sent;
      call.said.bytes_sent = step.offset + step.length;
    } else {
      if (call.said.head_sent) {
        auto flushed = co_await call.exchange().flush();
        if (!flushed) co_return flushed;
      }
      playing.bytes.pause();
      auto heard = co_await call.read();
      if (!heard) co_return heard;
      if (agrees(playing.item->script, call.said)) continue;
      auto chosen = co_await choose(playing);
      if (!chosen || playing.missed) co_return chosen;
    }
  }
  co_return Result<void>{};
}

net::Task<Result<void>> GrpcReplay::finish(Playing& playing) {
  using Kind = store::Outcome::Kind;
  GrpcCall& call = playing.call;
  const std::shared_ptr<const GrpcItem> recorded = playing.item;
  const store::Recording& recording = recorded->recording;
  if (is_whole(recording)) {
    playing.done = true;
    if (!is_head_only(recording)) co_return call.exchange().end(recording.response_trailers);
    co_return call.exchange().end(status_fields(recording.response.headers));
  }
  auto flushed = co_await call.exchange().flush();
  if (!flushed) co_return flushed;
  if (recording.outcome.kind == Kind::Incomplete) {
    // The client left, by itself or at its deadline: it will again. What it says until then nobody answered, unless
    // another call went on like that.
    while (!call.said.client_ended) {
      auto heard = co_await call.read();
      if (!heard) co_return heard;
      if (agrees(recorded->script, call.said) && !call.said.client_ended) continue;
      auto chosen = co_await choose(playing);
      if (!chosen) co_return chosen;
      if (playing.item == recorded && !playing.missed) break;
      if (!std::exchange(playing.missed, false)) co_return co_await perform(playing);
    }
    if (!playing.last_resort && may_go_on(recording, call, context_.idle_timeout)) {
      const bool stays = co_await call.stays_for(time_to_give_up(recording, context_.idle_timeout));
      if (stays) CO_TRY_VOID(co_await choose_next(playing));
      if (playing.missed) co_return Result<void>{};
      if (playing.item->recording.id != recording.id) co_return co_await perform(playing);
    }
    auto left = co_await call.wait_to_be_left(context_.idle_timeout);
    if (left) co_return left;
    call.exchange().facts().error_detail = kLeftOnTape;
    playing.done = true;
    call.exchange().reset(http::ResetCode::Cancel);
    co_return Result<void>{};
  }
  playing.done = true;
  co_await break_off(call.exchange(), reset_code_of(recording));
  co_return Result<void>{};
}

net::Task<Result<void>> GrpcReplay::play(Playing& playing) {
  GrpcCall& call = playing.call;
  if (!call.said.client_ended) {
    auto found = co_await find(playing, By::ServerFirst);
    if (!found) co_return found;
  }
  if (!playing.candidates.empty()) {
    auto heard = co_await call.read_first(kOvertaken);
    if (!heard || playing.expired) co_return heard;
  }
  while (playing.candidates.empty() && call.said.client.empty() && !call.said.client_ended && !call.is_too_long()) {
    auto heard = co_await call.read();
    if (!heard) co_return heard;
  }
  if (call.is_too_long() && call.is_kept()) {
    context_.metrics->add(Counter::LimitBodyBuffer);
    playing.missed = true;
    co_return Result<void>{};
  }
  if (playing.candidates.empty()) {
    auto found = co_await find(playing, By::FirstMessage);
    if (!found) co_return found;
  }
  if (playing.candidates.empty()) {
    playing.missed = true;
    if (call.is_kept()) co_return Result<void>{};
    auto early = co_await play_early(playing);
    if (!early || !playing.missed || playing.item != nullptr || !call.time_left()) co_return early;
    co_return co_await wait_as_left(playing);
  }
  auto chosen = co_await choose(playing);
  if (!chosen || playing.missed) co_return chosen;
  co_return co_await perform(playing);
}

namespace {

net::Task<> store_result(net::Task<Result<void>> task, Result<void>& result) {
  result = co_await std::move(task);
}

void count_hit(exchange::Facts& facts, const GrpcItem& item) {
  facts.outcome = Outcome::Replayed;
  facts.recording = item.recording.id;
}

}  // namespace

bool GrpcReplay::is_to_be_left(const Playing& playing) {
  return playing.item != nullptr && was_left_by_client(playing.item->recording);
}

// Plays, at most until the client's deadline, which ends the call as gRPC servers end it.
net::Task<Result<Answered>> GrpcReplay::conclude(Playing& playing) {
  GrpcCall& call = playing.call;
  Result<void> played;
  if (const auto left = call.time_left()) {
    const auto executor = co_await asio::this_coro::executor;
    net::TaskGroup group(executor);
    const auto expire = [&] {
      playing.expired = true;
      if (call.is_waiting) group.cancel();
    };
    // As recorded, the client has the last word.
    net::Deadline farewell(executor, expire);
    net::Deadline deadline(executor, [&] { is_to_be_left(playing) ? farewell.set(GrpcCall::kFarewell) : expire(); });
    deadline.set(*left);
    group.spawn(store_result(play(playing), played));
    co_await group.join_or_cancel();
  } else {
    played = co_await play(playing);
  }
  exchange::Facts& facts = call.exchange().facts();
  const bool late =
      (playing.expired || call.is_late()) && !playing.done && (played || played.error().code == Code::Cancelled);
  if (!played && !late) {
    // A store that fails is no miss; a client that sends nonsense or left has no use for an answer.
    if (played.error().origin == Origin::Store) {
      facts.error = "store_error";
    } else if (playing.item != nullptr && !playing.missed) {
      count_hit(facts, *playing.item);
    }
    call.exchange().reset(http::ResetCode::InternalError);
    co_return std::unexpected(played.error());
  }
  const bool may_forward = call.is_kept() && placeholder_in(call.exchange().request()).empty();
  if (playing.missed && !late && may_forward) co_return Answered::No;
  if (playing.missed && !late) {
    auto answered = co_await answer_miss(playing);
    if (!answered) co_return std::unexpected(answered.error());
    co_return Answered::Yes;
  }
  facts.outcome = Outcome::Replayed;
  if (playing.item != nullptr) count_hit(facts, *playing.item);
  if (late && !facts.client_left) {
    const GrpcStatus status{grpc::kDeadlineExceeded, "the deadline of the call passed in replay"};
    CO_TRY_VOID(send_status(call.exchange(), status, status_in(call)));
  }
  co_return Answered::Yes;
}

net::Task<Result<void>> GrpcReplay::answer_miss(Playing& playing) {
  store::KeyParts parts = playing.question.parts;
  context_.redactor->redact(parts);
  Miss miss{playing.target.session,
            playing.route_name,
            &playing.question.key,
            &parts,
            {},
            playing.exhausted,
            has_placeholder(playing.question.parts),
            playing.target.name,
            playing.route,
            playing.call.is_kept() ? placeholder_in(playing.call.exchange().request()) : std::string_view()};
  const auto& near = playing.item != nullptr ? playing.item : playing.nearest;
  if (near != nullptr) {
    miss.nearest = {diverged(near->recording.id, near->script, playing.call.said)};
  } else {
    auto search = [store = context_.store, session = playing.target.session, parts, &miss] {
      miss.asks_for_certificates = store::asks_for_certificates(*store, session, parts);
      return store->nearest(session, parts, 1);
    };
    auto nearest = co_await net::offload(*context_.readers, search);
    if (nearest) miss.nearest = std::move(*nearest);
  }
  const bool body = near != nullptr || is_body_alone(miss);
  name_first_message(miss);
  const Counter reason = playing.exhausted ? Counter::MissExhausted : body ? Counter::MissBody : Counter::MissNoKey;
  context_.metrics->add(playing.call.exchange().flow().identity.label, reason);
  exchange::Facts& facts = playing.call.exchange().facts();
  facts.outcome = Outcome::Missed;
  facts.error = "not_recorded";
  facts.error_detail = miss_reason(miss);
  const GrpcStatus status{grpc::kFailedPrecondition, miss_text(miss)};
  co_return send_status(playing.call.exchange(), status, status_in(playing.call));
}

net::Task<Result<void>> GrpcReplay::serve(Exchange& exchange, const TargetState& target, const config::Route* route,
                                          std::string_view route_name) {
  ReplayedRequest request(exchange);
  auto answered = co_await try_serve(request, target, route, route_name, 0);
  if (!answered) co_return std::unexpected(answered.error());
  co_return Result<void>{};
}

net::Task<Result<Answered>> GrpcReplay::try_serve(ReplayedRequest& request, const TargetState& target,
                                                  const config::Route* route, std::string_view route_name,
                                                  size_t keep) {
  GrpcCall call(request, route, *context_.metrics, keep);
  Playing playing{.call = call,
                  .target = target,
                  .route = route,
                  .route_name = route_name,
                  .bytes = GrpcBytes(*context_.store, *context_.readers),
                  .answers = call.is_kept() ? Answers::Complete : Answers::All};
  co_return co_await conclude(playing);
}

}  // namespace tapdeck::modes

#include "daemon/modes/record.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/error_response.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/forward.h"
#include "daemon/modes/limited_exchange.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/pace.h"
#include "daemon/modes/question.h"
#include "daemon/modes/record_provenance.h"
#include "daemon/modes/recording_exchange.h"

namespace tapdeck::modes {

using exchange::Exchange;
using Kind = store::Outcome::Kind;

namespace {

// What the error's name leaves open: the code of RST_STREAM, else an errno.
uint32_t code_of(const Error& error, const exchange::Facts& facts) {
  return facts.reset_code.value_or(static_cast<uint32_t>(error.sys_errno));
}

// How a response that has begun and failed ended on the wire. The code of a reset by an h2 origin is always one of
// h2, as the client was given it.
store::Outcome outcome_of(const Error& error, const exchange::Facts& facts, http::Version version) {
  const bool upstream = error.origin == Origin::Upstream;
  Kind kind = Kind::Incomplete;
  if (upstream && error.code == Code::Truncated) kind = Kind::Truncated;
  if (upstream && (error.code == Code::Reset || error.code == Code::Protocol)) kind = Kind::Reset;
  const bool fell_silent = upstream && error.code == Code::Timeout;  // the client is given a reset
  if (fell_silent) kind = Kind::Reset;
  uint32_t code = code_of(error, facts);
  if (kind == Kind::Reset && version == http::Version::Http2 && !facts.reset_code) {
    code = static_cast<uint32_t>(http::ResetCode::InternalError);
  } else if (fell_silent) {
    code = ETIMEDOUT;
  }
  return {kind, facts.response_bytes, std::string(exchange::name_of(error, facts)), code};
}

// The key it will have, when all of it was fed.
store::Key key_of(store::RecordingBuilder& builder) {
  return store::KeyBuilder(builder.key_builder()).key();
}

// Feeds the key what the end of the exchange says about it.
void finish_key(store::RecordingBuilder& builder, BodyKey& body_key, const RecordingExchange& recording,
                Exchange& exchange, const Result<void>& served) {
  const bool is_told = exchange.response_started() || is_turned_away(exchange);
  const bool answered = served || (served.error().origin == Origin::Upstream && is_told);
  if (answered && recording.is_early()) {
    make_early(builder.key_builder(), exchange.request());
  } else {
    body_key.finish(builder.key_builder());  // a body that was not read to its end
  }
}

// Behind what it follows: only what is found by the same key may be, since a newer take hides the older ones of a key.
void extend(store::RecordingBuilder& builder, std::span<const KeyTake> extends) {
  if (extends.empty()) return;
  const store::Key key = key_of(builder);
  const auto found = std::ranges::find(extends, key, &KeyTake::key);
  if (found != extends.end()) builder.extend(found->take);
}

// What is said of a recording that was not safe in time, or not kept at all.
std::string_view loss_of(const Error& why, Strict strict) {
  if (strict == Strict::Yes)
    return "a strict target's response was reset, for its recording was not safe; none is kept";
  if (why.code != Code::Timeout) return "a response went out whose recording is lost";
  return "a response went out before its recording was safe; it is on tape if the store catches up";
}

// In hybrid mode a failure is not an answer: the next such request tries the origin again.
bool is_answer(const Error& error, const exchange::Facts& facts) {
  return error.origin == Origin::Upstream && facts.mode == Mode::Record;
}

// A gRPC client that leaves before any answer has cancelled its call or reached its deadline, any other has given its
// request up: replay repeats both.
bool was_left(RecordingExchange& recording, const Error& error) {
  if (error.origin == Origin::Upstream) return false;
  if (recording.response_started() && !recording.is_in_doubt() && !recording.came_late()) return false;
  if (grpc::is_call(recording.request())) return true;
  return recording.facts().client_left && recording.has_read_request();
}

// What a client whose end came before its answer makes of it. Closed: it was gone before that.
net::Task<Result<void>> read_by_client(RecordingExchange& recording) {
  auto read = co_await recording.resolve_doubt();
  if (read || read.error().code == Code::Cancelled) co_return read;
  recording.facts().client_left = true;
  co_return fail(Code::Closed, "the client had left before its answer came", Origin::Downstream);
}

// An HTTP/1 client that leaves a quiet response ends its side, as one does that reads on. When nothing more came until
// we end, it had left.
Result<void> judge_departure(Result<void> served, RecordingExchange& recording) {
  exchange::Facts& facts = recording.facts();
  const bool is_cancelled = !served && served.error().code == Code::Cancelled;
  if (!is_cancelled || !facts.client_ended || !recording.response_started()) return served;
  facts.client_left = true;
  return fail(Code::Cancelled, "the client had ended its side, and nothing more came", Origin::Internal);
}

// The end of a late answer crosses the client's farewell, which shows in a moment.
net::Task<bool> is_left_meanwhile(RecordingExchange& recording) {
  Sleeper sleeper;
  auto stayed = co_await sleeper.until(sleeper.now() + LateAnswer::kFarewell);
  co_return !stayed && recording.facts().client_left;
}

// What came behind the deadline of a call is on the recording if its client has seen it: its key depends on that.
net::Task<> settle_late(RecordingExchange& recording, const Result<void>& served) {
  bool left = recording.facts().client_left;
  if (served) {
    left = co_await is_left_meanwhile(recording);
  } else if (served.error().origin == Origin::Downstream) {
    left = true;
  }
  left ? recording.drop_late() : recording.keep_late();
}

}  // namespace

uint64_t RecordHandler::limit_of(config::BodyOversize policy, const config::Route* route) const {
  const bool own = route != nullptr && route->body_oversize.has_value();
  const bool applies = policy == (own ? *route->body_oversize : context_.body_oversize);
  return applies && context_.max_body > 0 ? context_.max_body : UINT64_MAX;
}

void RecordHandler::count_redactions(const store::RedactionCounts& redactions) {
  if (redactions.uri > 0) context_.metrics->add(Counter::RedactedUri, redactions.uri);
  if (redactions.headers + redactions.trailers > 0) {
    context_.metrics->add(Counter::RedactedHeader, redactions.headers + redactions.trailers);
  }
}

net::Task<Result<void>> RecordHandler::commit(store::RecordingBuilder& builder, const RecordingExchange& recording,
                                              store::Outcome outcome) {
  const bool lost = recording.is_lost();
  if (lost) {
    builder.abandon();
  } else {
    builder.finish(std::move(outcome));
  }
  count_redactions(builder.redactions());
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  auto committed = co_await context_.link->commit(writes);
  if (lost) committed = std::unexpected(refused_part());  // whoever has left meanwhile
  co_return committed;
}

net::Task<> RecordHandler::keep_failure(store::RecordingBuilder& builder, RecordingExchange& recording,
                                        const Error& error, Strict strict) {
  store::Outcome outcome{Kind::Failed, 0, std::string(exchange::name_of(error)), code_of(error, recording.facts())};
  auto committed = co_await commit(builder, recording, std::move(outcome));
  if (committed || committed.error().code == Code::Cancelled) {
    recording.facts().recording = builder.id();
    context_.metrics->add(Counter::RecordingFailed);
  } else {
    note_loss(builder.id(), loss_of(committed.error(), strict), committed.error());
    if (strict == Strict::Yes) co_return take_back(builder, recording, committed.error());
  }
  auto told = co_await recording.release();
  ignore(told, "the failure that led here is what counts");
}

void RecordHandler::take_back(const store::RecordingBuilder& builder, RecordingExchange& recording, const Error& why) {
  if (why.code != Code::Exhausted) context_.link->withdraw(builder.id());  // else the store was given no end of it
  recording.reset(http::ResetCode::InternalError);
  exchange::Facts& facts = recording.facts();
  facts.outcome = Outcome::Failed;
  if (!facts.error.empty()) return;
  facts.error = "store_error";
  facts.error_detail = why.message();
}

net::Task<> RecordHandler::keep_unanswered(store::RecordingBuilder& builder, RecordingExchange& recording,
                                           const Error& error, Strict strict) {
  if (!recording.is_held() || recording.is_in_doubt()) {
    // The client may have been answered in the origin's place: by the session, when a limit ended the exchange.
    const bool is_begun = builder.recording().response.status != 0;
    const bool left = was_left(recording, error);
    const bool is_told = is_reset_call(recording) || is_turned_away(recording);
    const bool was_reset = is_told && is_answer(error, recording.facts());
    const bool is_worth_it = is_begun || left || was_reset || recording.is_lost();
    if (is_worth_it) {
      keep_part(builder, recording, error);
    } else {
      leave_nothing(builder);
    }
  } else if (is_answer(error, recording.facts())) {
    co_await keep_failure(builder, recording, error, strict);
  } else {
    auto told = co_await recording.release();  // our own error answer: sent, never recorded
    ignore(told, "the failure that led here is what counts");
    leave_nothing(builder);
  }
}

// What records one exchange, each part with those before it. In the frame of serve().
struct RecordHandler::Taping {
  Taping(const RecordContext& context, store::DigestMemo& digests, Exchange& exchange, const TargetState& target,
         const config::Route* route, std::string_view route_name, Bounds bounds)
      : origin(origin_of(exchange, origin_text)),
        builder({target.tape->hasher, *context.redactor, target.tape->take, &digests, &context.link->spares()},
                context.store->allocate_id(), exchange.facts().began_unix_us, origin.scheme, origin.host, origin.port,
                exchange.request()),
        body_key(route, exchange.request(), target.tape->hasher, *context.metrics),
        recording(exchange, builder, body_key, *context.link, {bounds.bypass, target.strict}),
        grpc_tee(builder, *context.metrics) {
    add_dimensions(builder.key_builder(), origin, exchange.request());
    fill_provenance(builder.provenance(), exchange, target, route_name);
    const exchange::TlsFacts& tls = exchange.tls();
    // An origin that was never reached has had no say in what the client was given.
    if (is_secure(exchange)) builder.client_alpn({tls.client_offer, tls.alpn, !tls.upstream_verify.empty()});
    if (grpc::is_call(exchange.request())) recording.index_messages(grpc_tee);
    if (bounds.error < UINT64_MAX) limited.emplace(recording, LimitedExchange::Limits{.response = bounds.error});
  }
  Taping(const Taping&) = delete;
  Taping& operator=(const Taping&) = delete;

  // What the inner handler is given.
  [[nodiscard]] Exchange& answering() { return limited ? static_cast<Exchange&>(*limited) : recording; }

  std::string origin_text;  // what `origin` refers to
  OriginName origin;
  store::RecordingBuilder builder;
  BodyKey body_key;
  RecordingExchange recording;
  GrpcTee grpc_tee;
  std::optional<LimitedExchange> limited;  // above the recording, which keeps no more than the client is given
};

net::Task<Result<void>> RecordHandler::serve(Exchange& exchange, const TargetState& target, const config::Route* route,
                                             std::string_view route_name, std::span<const KeyTake> extends) {
  const Bounds bounds{limit_of(config::BodyOversize::Bypass, route), limit_of(config::BodyOversize::Error, route)};
  Taping taping(context_, digests_, exchange, target, route, route_name, bounds);
  store::RecordingBuilder& builder = taping.builder;
  RecordingExchange& recording = taping.recording;
  auto served = co_await inner_.serve(taping.answering());
  exchange::Facts& facts = exchange.facts();
  if (recording.is_in_doubt()) {
    auto read = co_await read_by_client(recording);
    if (!read) served = read;
  }
  served = judge_departure(std::move(served), recording);
  complete_provenance(builder.provenance(), exchange);
  if (!served && recording.is_held() && is_answer(served.error(), facts)) co_await recording.read_rest();
  if (recording.has_late()) co_await settle_late(recording, served);
  finish_key(builder, taping.body_key, recording, exchange, served);
  extend(builder, extends);
  if (recording.websocket() != nullptr) {
    facts.outcome = Outcome::Forwarded;
    co_await recording.websocket()->finish(served);
    co_return served;
  }
  if (recording.became_tunnel() || recording.is_bypassed()) {
    facts.outcome = served ? Outcome::Forwarded : Outcome::Failed;
    note_bypass(builder, recording, target.strict);
    co_return served;
  }
  if (recording.came_late() && facts.client_left) co_return keep_abandoned(builder, recording);
  if (!served) {
    co_await keep_unanswered(builder, recording, served.error(), target.strict);
    co_return served;
  }
  if (!recording.is_lost()) count_as_given(exchange, target, route, builder);  // before anybody can find it
  store::Outcome whole{Kind::Complete, 0, {}};
  const auto committed = co_await commit(builder, recording, std::move(whole));
  if (!note_whole(builder, recording, committed, target.strict)) co_return committed;
  CO_TRY(released, recording.release_now());
  if (released) co_return Result<void>{};
  co_return co_await recording.release();
}

Result<void> RecordHandler::keep_abandoned(store::RecordingBuilder& builder, RecordingExchange& recording) {
  const Error error{Code::Reset, "the client left at its deadline", Origin::Downstream, Retry::No, 0};
  exchange::note_failure(recording.facts(), error);
  keep_part(builder, recording, error);
  return std::unexpected(error);
}

bool RecordHandler::note_whole(const store::RecordingBuilder& builder, RecordingExchange& recording,
                               const Result<void>& committed, Strict strict) {
  exchange::Facts& facts = recording.facts();
  const bool left = !committed && committed.error().code == Code::Cancelled;
  if (committed || left) {
    facts.outcome = Outcome::Recorded;
    facts.recording = builder.id();
    context_.metrics->add(Counter::RecordingComplete);
    return !left;
  }
  facts.outcome = Outcome::Forwarded;
  note_loss(builder.id(), loss_of(committed.error(), strict), committed.error());
  if (strict == Strict::Yes) take_back(builder, recording, committed.error());
  return strict == Strict::No;
}

void RecordHandler::count_as_given(Exchange& exchange, const TargetState& target, const config::Route* route,
                                   store::RecordingBuilder& builder) {
  const bool uses_up = route != nullptr && route->repeat == config::Repeat::Once;
  if (!uses_up || exchange.facts().mode != Mode::Hybrid || context_.cursors == nullptr) return;
  const store::Key key = key_of(builder);
  const Cursors::Cursor cursor = context_.cursors->get(cursor_key(target.tape->id, exchange.flow(), key));
  cursor->fetch_add(1, std::memory_order_relaxed);
}

void RecordHandler::note_loss(uint64_t recording, std::string_view what, const Error& why) {
  context_.link->lose(why);
  log::peer(log::Level::Error, "recording.lost", what, {{"recording", recording}, {"reason", why.message()}});
}

void RecordHandler::note_bypass(const store::RecordingBuilder& builder, const RecordingExchange& recording,
                                Strict strict) {
  if (recording.is_lost()) {
    note_loss(builder.id(),
              strict == Strict::Yes ? "a strict target's long body was broken off, for its recording was not safe"
                                    : "a long body went on without its recording",
              fail(Code::Exhausted, "the store did not keep up", Origin::Store).error());
  } else if (recording.is_bypassed()) {
    context_.metrics->add(Counter::IncompleteLimit);
  }
}

void RecordHandler::keep_part(store::RecordingBuilder& builder, RecordingExchange& recording, const Error& error) {
  if (recording.is_lost()) {
    builder.abandon();
    note_loss(builder.id(), "an exchange broke off whose recording is not whole", refused_part());
  } else {
    store::Outcome outcome = outcome_of(error, recording.facts(), builder.recording().response.version);
    outcome.at_bytes = std::min(outcome.at_bytes, builder.body_size(store::BodySide::Response));
    const bool is_interrupted = context_.interrupted != nullptr && *context_.interrupted;
    if (is_interrupted && outcome.reason == store::kClientGone) outcome.reason = store::kInterrupted;
    builder.finish(std::move(outcome));
    recording.facts().recording = builder.id();
    context_.metrics->add(Counter::RecordingIncomplete);
  }
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  context_.link->add(writes);
}

void RecordHandler::leave_nothing(store::RecordingBuilder& builder) {
  builder.abandon();
  std::vector<store::PendingWrite> writes;
  builder.take_writes(writes);
  if (!writes.empty()) context_.link->add(writes);
}

}  // namespace tapdeck::modes

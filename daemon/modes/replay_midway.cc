// ReplayHandler: clients that wait for the answer inside their request.
#include <algorithm>
#include <utility>

#include "daemon/modes/client_turns.h"
#include "daemon/modes/replay.h"
#include "daemon/modes/takeover_exchange.h"
#include "daemon/modes/turns.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

using exchange::Exchange;

void ReplayHandler::note_missed(Exchange& exchange, Counter reason) {
  context_.metrics->add(exchange.flow().identity.label, reason);
  exchange.facts().outcome = Outcome::Missed;
}

net::Task<Result<ReplayHandler::Begun>> ReplayHandler::find_begun(Exchange& exchange, const Asking& asking,
                                                                  const TargetState& target, const config::Route* route,
                                                                  const Progress& progress) {
  const Answers answers = answers_of(exchange, route);
  const store::KeyHasher& hasher = target.tape->hasher;
  auto search = [store = context_.store, session = target.session, &progress, &hasher, answers] {
    return that_begin_so(*store, session, hasher, progress, answers);
  };
  context_.metrics->add(Counter::HotCacheMiss);
  const Beginnings beginnings = co_await net::offload(*context_.readers, search);
  Begun begun;
  begun.others = beginnings.others;
  std::vector<store::Key> keys = beginnings.in_turns;
  const store::Key early = asking.early_key();
  if (answers == Answers::All && progress.sent.status == 0) keys.push_back(early);
  // In the order of recording; when all had their turn, whichever the route's `repeat` gives again.
  CursorKey key = cursor_key(target.tape->id, exchange.flow(), {});
  uint64_t soonest = UINT64_MAX;
  for (size_t i = 0; i < keys.size(); ++i) {
    key.key = keys[i];
    CO_TRY(id, co_await next_id(key, target, answers));
    if (!id || *id >= soonest) continue;
    soonest = *id;
    std::swap(keys[0], keys[i]);
  }
  for (const store::Key& one : keys) {
    key.key = one;
    CO_TRY(found, co_await find_key(key, target, repeat_of(route), answers, Turn::Take, exchange.request()));
    if (!found.item) continue;
    if (was_given_up(found.item->recording)) {  // its client had said all
      Cursors::give_back_turn(*context_.cursors->get(key));
      begun.others = true;
      continue;
    }
    begun.item = found.item;
    begun.key = key;
    begun.turns = one != early || took_turns(found.item->recording);
    break;
  }
  if (begun.item == nullptr || !begun.turns) co_return begun;
  // Recordings of a key have the same body, but those of the early one, and not always the same answer.
  auto compare = [store = context_.store, item = begun.item, &progress, &hasher] {
    return goes_on_from(*store, item->recording, hasher, progress);
  };
  const bool is_same = co_await net::offload(*context_.readers, compare);
  begun.turns = is_same;
  // The early one answers whatever the body is, but only from its begin.
  if (!is_same && (begun.key.key != early || progress.sent.status != 0)) begun.item = nullptr;
  co_return begun;
}

net::Task<Result<Midway>> ReplayHandler::answer_midway(ReplayedRequest& request, Asking& asking,
                                                       const TargetState& target, const config::Route* route) {
  TakeoverExchange answer(request, target.tape->hasher);
  Said heard{.bytes = asking.parts_so_far().body_size};
  while (true) {
    Progress progress{asking.parts_so_far(), heard.ended, answer.sent()};
    context_.redactor->redact(progress.said);
    heard.bytes = progress.said.body_size;
    auto begun = co_await find_begun(answer, asking, target, route, progress);
    const bool is_found = begun && begun->item != nullptr;
    if (!is_found && answer.response_started()) break;
    if (!is_found) co_return begun && begun->others ? Midway::Awaited : Midway::Unknown;
    if (!begun->turns) {
      CO_TRY_VOID(co_await play(answer, begun->item, route));
      co_return Midway::Answered;
    }
    SegmentReader reader(*context_.store, *context_.readers);
    ClientTurns turns(request, asking, begun->item->recording, heard, std::move(reader));
    auto played = co_await play(answer, begun->item, route, &turns);
    if (played) co_return Midway::Answered;
    if (!turns.has_diverged()) {
      // Over HTTP/1 the session ends it for the whole connection, and says why in the facts.
      const bool is_late = played.error().code == Code::Timeout || request.facts().error == "request_timeout";
      if (is_late) note_missed(request, Counter::MissNoKey);
      co_return std::unexpected(played.error());
    }
    if (begun->key.key == asking.early_key()) {  // it answers whatever the body is
      answer.begin_again();
      CO_TRY_VOID(co_await play(answer, begun->item, route));
      co_return Midway::Answered;
    }
    heard.ended = turns.has_ended();
    Cursors::give_back_turn(*context_.cursors->get(begun->key));
    if (!answer.response_started()) {
      request.facts().outcome = Outcome::Failed;
      request.facts().recording = 0;
      co_return Midway::Awaited;
    }
    answer.begin_again();
  }
  note_missed(request, Counter::MissBody);
  request.facts().error = "not_recorded";
  request.facts().error_detail = "the client went on in another way than on tape";
  request.reset(http::ResetCode::InternalError);
  co_return Midway::Answered;
}

}  // namespace tapdeck::modes

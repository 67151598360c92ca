// Which recording a gRPC call is: looked up by what is known of the call so far, and given up for another when the
// client says something else.
#include <utility>

#include "daemon/modes/grpc_playing.h"
#include "daemon/modes/key_reader.h"
#include "daemon/modes/read_turns.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

using exchange::Exchange;

net::Task<Result<HotEntry*>> GrpcReplay::look_up(Playing& playing) {
  auto read = [store = context_.store, session = playing.target.session, key = playing.key, answers = playing.answers](
                  const std::vector<uint64_t>& known, size_t& unreadable) -> Result<HotEntry> {
    return read_turns(*store, session, key, answers, Others::Kept, known, unreadable);
  };
  co_return co_await read_key(cache_, context_, playing.key, read);
}

void GrpcReplay::take_candidates(Playing& playing, const HotEntry& entry) {
  const config::Repeat repeat = playing.route != nullptr ? playing.route->repeat : config::Repeat::InOrder;
  playing.first = take_turn(repeat, *entry.cursor, entry.turns());
  playing.exhausted = playing.first >= entry.usable;
  if (!playing.exhausted) playing.candidates = entry.ids;
  playing.usable = entry.usable;
  playing.last_resort = !entry.last;
}

net::Task<Result<void>> GrpcReplay::find(Playing& playing, By by) {
  Exchange& exchange = playing.call.exchange();
  const Tape& tape = *playing.target.tape;
  store::KeyBuilder builder = Asking::begin(exchange, tape, exchange.request().method);
  if (by == By::ServerFirst) mark_server_first(builder);
  if (by == By::Early) mark_early(builder, playing.call.first_length().value_or(0));
  builder.canonical_body(by == By::FirstMessage ? first_message_digest(tape.hasher, playing.call.said.client)
                                                : store::Digest{});
  playing.question.key = builder.key();
  playing.question.parts = builder.parts();
  playing.question.parts.body_size = playing.call.request_bytes;
  playing.key = cursor_key(tape.id, exchange.flow(), playing.question.key);
  const uint64_t generation = context_.store->generation();
  const CursorKey of_all{tape.id, {}, playing.question.key};
  if (never_first_.contains(of_all, generation)) co_return Result<void>{};
  HotEntry* entry = cache_.find(playing.key, generation);
  playing.cached = entry != nullptr;
  context_.metrics->add(playing.cached ? Counter::HotCacheHit : Counter::HotCacheMiss);
  if (entry == nullptr) {
    CO_TRY(found, co_await look_up(playing));
    // A tape that nobody records to gets no such call later.
    const bool stays_empty = by == By::ServerFirst && tape.take.number == 0;
    if (found == nullptr && stays_empty) never_first_.add(of_all, generation);
    if (found == nullptr) co_return Result<void>{};
    entry = found;
  }
  take_candidates(playing, *entry);
  playing.server_first = by == By::ServerFirst && !playing.candidates.empty();
  co_return Result<void>{};
}

net::Task<Result<std::shared_ptr<const GrpcItem>>> GrpcReplay::load(Playing& playing, uint64_t id) {
  const store::ExchangeStore* store = context_.store;
  const uint64_t generation = store->generation();
  if (HotEntry* entry = cache_.find(playing.key, generation)) {
    const auto known = entry->items.find(id);
    if (known != entry->items.end()) co_return std::static_pointer_cast<const GrpcItem>(known->second);
  }
  const std::string session = playing.target.session;
  const auto rules = playing.route != nullptr && playing.route->grpc ? playing.route->grpc->rules : nullptr;
  auto read = [store, session, id, rules] {
    return unless_deleted(*store, session, id, load_grpc_item(*store, session, id, rules));
  };
  auto item = co_await net::offload(*context_.readers, read);
  if (!item) {
    context_.metrics->add(Counter::StoreErrorRead);
    co_return item;
  }
  if (*item == nullptr) {
    cache_.forget(playing.key);
    co_return item;
  }
  if (HotEntry* entry = cache_.find(playing.key, generation)) cache_.add_item(*entry, id, *item);
  co_return item;
}

// The first candidate, in their order, that agrees with the client and with what it was sent.
net::Task<Result<void>> GrpcReplay::choose(Playing& playing) {
  const size_t count = playing.candidates.size();
  std::shared_ptr<const GrpcItem> left;  // the last resort
  std::shared_ptr<const GrpcItem> first;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t id = playing.candidates[i < playing.usable ? (playing.first + i) % playing.usable : i];
    CO_TRY(item, co_await load(playing, id));
    if (item == nullptr) continue;
    if (first == nullptr) first = item;
    if (!agrees(item->script, playing.call.said)) continue;
    if (playing.item != nullptr && !sent_same(*playing.item, *item, playing.call.said)) continue;
    // This client has ended its half without leaving: a call in which the server did not speak first may be the one.
    if (playing.server_first && playing.call.said.client_ended && was_left_speaking(*item)) {
      left = std::move(item);
      continue;
    }
    playing.item = std::move(item);
    playing.play.emplace(playing.item->script);
    playing.bytes.forget();
    co_return Result<void>{};
  }
  if (std::exchange(playing.cached, false)) {
    // Hybrid mode adds recordings that begin alike without a new generation of the store.
    CO_TRY(found, co_await look_up(playing));
    if (found != nullptr && found->ids.size() > count) {
      playing.candidates = found->ids;
      playing.usable = found->usable;
      co_return co_await choose(playing);
    }
  }
  playing.nearest = std::move(first);
  if (!playing.server_first) {
    playing.missed = true;
    co_return Result<void>{};
  }
  // None of the calls in which the server spoke first: then one in which the message happened to be faster than the
  // head.
  playing.server_first = false;
  playing.candidates.clear();
  auto found = co_await find(playing, By::FirstMessage);
  if (!found) co_return found;
  playing.missed = playing.candidates.empty();
  if (!playing.missed) CO_TRY_VOID(co_await choose(playing));
  if (!playing.missed || left == nullptr) co_return Result<void>{};
  playing.missed = false;
  playing.item = std::move(left);
  playing.play.emplace(playing.item->script);
  playing.bytes.forget();
  co_return Result<void>{};
}

net::Task<Result<void>> GrpcReplay::choose_next(Playing& playing) {
  HotEntry* entry = cache_.find(playing.key, context_.store->generation());
  playing.cached = entry != nullptr;
  if (entry == nullptr) {
    CO_TRY(found, co_await look_up(playing));
    entry = found;
  }
  playing.item = nullptr;
  playing.candidates.clear();
  if (entry != nullptr) take_candidates(playing, *entry);
  playing.missed = playing.candidates.empty();
  if (!playing.missed) CO_TRY_VOID(co_await choose(playing));
  co_return Result<void>{};
}

// A call may have been left, most often at its deadline, before its first message had come. What its client says now
// nobody answered then: it hears nothing until its deadline, as it did. Without a deadline it would wait for ever, and
// has missed.
net::Task<Result<void>> GrpcReplay::wait_as_left(Playing& playing) {
  const store::KeyParts asked = playing.question.parts;
  CO_TRY_VOID(co_await find(playing, By::Silence));
  for (const uint64_t id : std::exchange(playing.candidates, {})) {
    CO_TRY(item, co_await load(playing, id));
    if (item == nullptr || !was_left_in_silence(*item)) continue;
    playing.item = std::move(item);
    co_return co_await playing.call.wait_to_be_left(context_.idle_timeout);
  }
  playing.question.parts = asked;
  playing.missed = true;
  co_return Result<void>{};
}

namespace {

// Answered although its client had said nothing and had not ended: refused by its head, whatever it was going to say.
bool was_answered_in_silence(const GrpcItem& item) {
  const bool is_answer = is_whole(item.recording) || item.recording.outcome.kind == store::Outcome::Kind::Reset;
  return is_answer && item.script.client.empty() && !item.script.client_ended;
}

}  // namespace

// A call may have been answered before its first message had come, as one that is too long or not allowed is. Whether
// the message was faster is chance, so one that no other recording answers is answered like that.
net::Task<Result<void>> GrpcReplay::play_early(Playing& playing) {
  const Question asked = playing.question;
  for (const By by : {By::Early, By::Silence}) {
    CO_TRY_VOID(co_await find(playing, by));
    const std::vector<uint64_t> ids = std::exchange(playing.candidates, {});
    for (size_t i = 0; i < ids.size(); ++i) {
      const uint64_t id = ids[(playing.first + i) % ids.size()];
      CO_TRY(item, co_await load(playing, id));
      if (item == nullptr) continue;
      // One that its client left there, without a deadline, would be waited out for nothing.
      if (by == By::Early && item->recording.outcome.kind == store::Outcome::Kind::Incomplete) continue;
      if (by == By::Silence && !was_answered_in_silence(*item)) continue;
      playing.missed = false;
      playing.item = std::move(item);
      playing.play.emplace(playing.item->script);
      co_return co_await perform(playing);
    }
  }
  playing.question = asked;
  co_return Result<void>{};
}

}  // namespace tapdeck::modes

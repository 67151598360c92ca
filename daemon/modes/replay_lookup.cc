// ReplayHandler: which recording of one key answers, from the hot cache or the store.
#include <utility>

#include "daemon/modes/key_reader.h"
#include "daemon/modes/read_turns.h"
#include "daemon/modes/replay.h"
#include "daemon/modes/websocket_part.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

net::Task<Result<HotEntry*>> ReplayHandler::load_entry(const CursorKey& key, const TargetState& target,
                                                       Answers answers) {
  auto read = [store = context_.store, session = target.session, answers, wanted = key](
                  const std::vector<uint64_t>& known, size_t& unreadable) -> Result<HotEntry> {
    TRY(entry, read_turns(*store, session, wanted, answers, Others::Dropped, known, unreadable));
    if (answers == Answers::All) return entry;
    // What another process records cannot be extended.
    const bool is_ours = !entry.ids.empty() && (entry.ids.back() & store::ExchangeStore::kOlder) == 0;
    const auto last = is_ours ? store->get(session, entry.ids.back()) : Result<store::Recording>();
    entry.take = last ? last->take : 0;
    return entry;
  };
  co_return co_await read_key(cache_, context_, key, read);
}

net::Task<Result<std::shared_ptr<const ReplayItem>>> ReplayHandler::load(CursorKey key, const TargetState& target,
                                                                         uint64_t id) {
  const store::ExchangeStore* store = context_.store;
  const std::string session = target.session;
  const uint64_t generation = store->generation();
  HotEntry* const known = cache_.find(key, generation);
  auto shared = known != nullptr ? cache_.shared_item(id) : nullptr;
  if (shared != nullptr) {  // another client of the target has asked for it
    cache_.share_item(*known, id, shared);
    co_return shared;
  }
  auto read = [store, session, id] { return unless_deleted(*store, session, id, load_item(*store, session, id)); };
  auto item = co_await net::offload(*context_.readers, read);
  if (!item) {
    context_.metrics->add(Counter::StoreErrorRead);
    co_return item;
  }
  if (*item == nullptr) {
    cache_.forget(key);
    co_return item;
  }
  if (HotEntry* entry = cache_.find(key, generation)) cache_.share_item(*entry, id, *item);
  co_return item;
}

bool ReplayHandler::is_known_absent(const TargetState& target, const store::Key& key) {
  const auto& known = target.tape->known;
  if (known != nullptr) return !known->may_hold(key);
  return absent_.contains({target.tape->id, {}, key}, context_.store->generation());
}

net::Task<Result<HotEntry*>> ReplayHandler::entry_of(const CursorKey& key, const TargetState& target, Answers answers) {
  const uint64_t generation = context_.store->generation();
  HotEntry* entry = cache_.find(key, generation);
  if (entry == nullptr && !is_known_absent(target, key.key)) {
    CO_TRY(loaded, co_await load_entry(key, target, answers));
    entry = loaded;
    if (entry == nullptr && target.tape->take.number == 0) absent_.add({key.tape, {}, key.key}, generation);
  }
  co_return entry;
}

namespace {

// When the recording whose turn it is was recorded (ExchangeStore::in_time).
std::optional<uint64_t> moment_of_turn(const HotEntry& entry) {
  const uint64_t turn = entry.cursor->load(std::memory_order_relaxed);
  if (turn >= entry.ids.size()) return std::nullopt;
  return store::ExchangeStore::in_time(entry.ids[turn]);
}

}  // namespace

net::Task<Result<std::optional<uint64_t>>> ReplayHandler::next_id(const CursorKey& key, const TargetState& target,
                                                                  Answers answers) {
  CO_TRY(entry, co_await entry_of(key, target, answers));
  co_return entry == nullptr ? std::nullopt : moment_of_turn(*entry);
}

net::Task<Result<std::optional<uint64_t>>> ReplayHandler::next_finished(const CursorKey& key, const TargetState& target,
                                                                        Answers answers) {
  CO_TRY(entry, co_await entry_of(key, target, answers));
  co_return entry == nullptr || !entry->last ? std::nullopt : moment_of_turn(*entry);
}

net::Task<Result<Found>> ReplayHandler::find_existing(const CursorKey& key, const TargetState& target,
                                                      config::Repeat repeat, Answers answers, Turn turn,
                                                      uint64_t ahead) {
  CO_TRY(found, co_await look_up(key, target, repeat, answers, turn, ahead));
  if (!found.deleted) co_return found;
  if (turn == Turn::Take) Cursors::give_back_turn(*context_.cursors->get(key));
  CO_TRY(again, co_await look_up(key, target, repeat, answers, turn, ahead));
  // The key still leads to what is not there, as in a damaged store: then that turn is over.
  if (again.deleted) context_.metrics->add(Counter::StoreErrorRead);
  co_return again;
}

net::Task<Result<Found>> ReplayHandler::look_up(const CursorKey& key, const TargetState& target, config::Repeat repeat,
                                                Answers answers, Turn turn, uint64_t ahead) {
  HotEntry* entry = cache_.find(key, context_.store->generation());
  context_.metrics->add(Counter::HotCacheMiss);
  // What was recorded since, for whomever, follows what is known.
  const bool may_have_grown =
      entry != nullptr && target.tape->take.number > 0 &&
      pick(repeat, entry->cursor->load(std::memory_order_relaxed), entry->turns()) >= entry->ids.size();
  if (entry == nullptr || may_have_grown) {
    CO_TRY(loaded, co_await load_entry(key, target, answers));
    entry = loaded;
  }
  Found found;
  if (entry != nullptr) {
    const Turns turns = entry->turns();
    const uint64_t now = entry->cursor->load(std::memory_order_relaxed);
    const size_t index =
        turn == Turn::Take ? take_turn(repeat, *entry->cursor, turns) : pick(repeat, now + ahead, turns);
    found.turns = turns.count;
    found.exhausted = index >= turns.count;
    found.last_resort = !entry->last;
    if (!found.exhausted) {
      const uint64_t id = entry->ids[index];
      const auto cached = entry->items.find(id);
      if (cached != entry->items.end()) {
        found.item = cached->second;
      } else {
        CO_TRY(item, co_await load(key, target, id));
        found.item = item;
        found.deleted = item == nullptr;
      }
      if (found.item == nullptr) co_return found;
      const store::Recording& recording = found.item->recording;
      if (is_unanswered(recording) && !was_given_up(recording)) found.item = nullptr;
      if (is_websocket_recording(recording)) found.casting = casting_of(key, target, repeat, id);
    }
  }
  co_return found;
}

}  // namespace tapdeck::modes

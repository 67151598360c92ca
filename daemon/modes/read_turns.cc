#include "daemon/modes/read_turns.h"

#include <algorithm>
#include <utility>

namespace tapdeck::modes {
namespace {

bool was_left_by(const store::ExchangeStore& store, std::string_view session, uint64_t id, const Endpoint& client) {
  const auto recording = store.get(session, id);
  if (!recording) return false;
  Endpoint who = recording->provenance.client;
  who.port = 0;  // as in a CursorKey
  return who == client;
}

// Those go behind the others.
template <class LosesTurn>
void take_turns_away(store::ExchangeStore::Found& found, LosesTurn loses_turn) {
  if (found.left.empty()) return;
  const uint64_t last = found.ids[*found.last];
  std::vector<uint64_t> in_turn, others;
  for (size_t i = 0; i < found.ids.size(); ++i) {
    const uint64_t id = found.ids[i];
    const bool is_lost = std::ranges::binary_search(found.left, id) && loses_turn(id);
    (i < found.usable && !is_lost ? in_turn : others).push_back(id);
  }
  found.usable = in_turn.size();
  found.last = static_cast<size_t>(std::ranges::find(in_turn, last) - in_turn.begin());
  found.ids = std::move(in_turn);
  found.ids.insert(found.ids.end(), others.begin(), others.end());
}

}  // namespace

Result<HotEntry> read_turns(const store::ExchangeStore& store, std::string_view session, const CursorKey& key,
                            Answers answers, Others others, const std::vector<uint64_t>& known, size_t& unreadable) {
  TRY(found, store.lookup_all(session, key.key));
  if (answers == Answers::Complete) {
    take_turns_away(found, [](uint64_t /*id*/) { return true; });
  } else if (key.client != Endpoint{}) {
    take_turns_away(found, [&](uint64_t id) { return !was_left_by(store, session, id, key.client); });
  }
  if (others == Others::Dropped) found.ids.resize(found.usable);
  HotEntry entry;
  entry.ids = std::move(found.ids);
  entry.usable = found.usable;
  entry.last = found.last;
  if (answers == Answers::All) return entry;
  unreadable = keep_complete(store, session, entry.ids, known);
  entry.usable = entry.ids.size();
  if (!entry.ids.empty()) entry.last = entry.usable - 1;
  return entry;
}

}  // namespace tapdeck::modes

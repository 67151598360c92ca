// ReplayHandler's part for WebSockets: what else may play to one.
#include <algorithm>

#include "daemon/modes/replay.h"

namespace tapdeck::modes {

std::shared_ptr<WebSocketCasting> ReplayHandler::casting_of(const CursorKey& key, const TargetState& target,
                                                            config::Repeat repeat, uint64_t id) {
  const HotEntry* entry = cache_.find(key, context_.store->generation());
  if (entry == nullptr || entry->ids.size() < 2) return nullptr;
  const auto turn = std::ranges::find(entry->ids, id);
  if (turn == entry->ids.end()) return nullptr;
  return std::make_shared<WebSocketCasting>(target.session, entry->ids, static_cast<size_t>(turn - entry->ids.begin()),
                                            repeat, *context_.cursors, key);
}

}  // namespace tapdeck::modes

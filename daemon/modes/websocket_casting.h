// WebSocketCasting: which of a request's recordings each WebSocket plays, where clients need not open theirs in the
// recorded order: a client that says what another recording has plays that one, and leaves its own to others.
//
// Marks say which recordings connections began with and which their clients have confirmed by a message. They are
// shared as cursors are, and rewound with them; a round of turns is over when all are marked. Looked at are the 32
// recordings among which the turn is. Owner: one replayed connection. Thread: the worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/modes/cursors.h"

namespace tapdeck::modes {

class WebSocketCasting {
 public:
  // `ids` of `key` in replay order, none twice; it is the turn of ids[turn].
  WebSocketCasting(std::string session, const std::vector<uint64_t>& ids, size_t turn, config::Repeat repeat,
                   Cursors& cursors, CursorKey key);
  [[nodiscard]] const std::string& session() const { return session_; }

  // What to begin with: the first that no connection of this round has. nullopt: that whose turn it is. Where the
  // recording given is no WebSocket, the next call says what to begin with instead.
  [[nodiscard]] std::optional<uint64_t> begin();
  // The client has said what the recording expects. False, and only the first time: so has another's client before.
  [[nodiscard]] bool confirm();

  // Of all: those nobody confirmed first, in order, then the others from the last on, but for Repeat::Once.
  enum class Among { Unconfirmed, All };
  // The next that may take over, each once; nullopt: no more.
  [[nodiscard]] std::optional<uint64_t> next(Among among);
  // The last that next() gave plays from now on. False: another connection was faster, and each plays once.
  [[nodiscard]] bool take();

 private:
  enum class Mark { None, Begun, Confirmed };  // ours at current_
  [[nodiscard]] bool is_confirmed(size_t index) const;

  std::string session_;
  std::vector<uint64_t> ids_;
  size_t turn_;
  size_t current_;
  config::Repeat repeat_;
  Cursors::Cursor marks_;  // begun: the lower half, confirmed: the upper
  Mark mark_ = Mark::None;
  bool asked_ = false;  // confirm()
  uint64_t tried_ = 0;
  size_t candidate_ = 0;
};

}  // namespace tapdeck::modes

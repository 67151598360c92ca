// WebSocketCasting: which of a request's recordings each WebSocket plays, where clients need not open theirs in the
// recorded order: a client that says what another recording has plays that one, and leaves its own to others.
//
// Who plays what is known to all connections of the key (websocket_round.h) until it is rewound; a round of turns is
// over when each recording is taken. Looked at are the 32 recordings among which the turn is. Owner: one replayed
// connection. Thread: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/modes/cursors.h"
#include "daemon/modes/websocket_round.h"

namespace tapdeck::modes {

class WebSocketCasting {
 public:
  // `ids` of `key` in replay order, none twice; it is the turn of ids[turn].
  WebSocketCasting(std::string session, const std::vector<uint64_t>& ids, size_t turn, config::Repeat repeat,
                   Cursors& cursors, const CursorKey& key);
  [[nodiscard]] const std::string& session() const { return session_; }

  // What to begin with: the first that no connection of this round has. nullopt: that whose turn it is. Where the
  // recording given is no WebSocket, the next call says what to begin with instead.
  [[nodiscard]] std::optional<uint64_t> begin();

  // Of each message of the client, until is_heard() has it that this is enough: WebSocketScript::likeness().
  void hear(uint64_t message) { heard_.add(message); }
  [[nodiscard]] bool is_heard() const { return heard_.is_full(); }
  // The last one was what the recording expects. False: it is another's, whose client has said the same.
  [[nodiscard]] bool confirm();

  // Free: those whose client has not said all that this one has, first where least was said, in order.
  // All: the recording that plays does not go on like that; behind the free ones come the others from the last on, but
  // for Repeat::Once.
  enum class Among { Free, All };
  // The next that may take over. Each is given once, but for what was taken; nullopt: no more.
  [[nodiscard]] std::optional<uint64_t> next(Among among);
  // The last that next() gave plays from now on. False: another connection was faster, and each plays once.
  [[nodiscard]] bool take();
  // None of them goes on like that: another connection may have what this one had.
  void give_back();

 private:
  [[nodiscard]] uint32_t untried() const;

  std::string session_;
  std::vector<uint64_t> ids_;
  size_t block_;
  size_t turn_;
  size_t current_;
  config::Repeat repeat_;
  std::shared_ptr<WebSocketRounds> rounds_;
  WebSocketRounds::Round round_;
  WebSocketRound::Player player_ = 0;
  Heard heard_;
  uint32_t tried_ = 0;
  size_t candidate_ = 0;
};

}  // namespace tapdeck::modes

// One try of a request on one lane, as forward.cc and forward_tunnel.cc see it. Private to ForwardHandler.
//
// Owner: serve() or serve_over(), for the length of the try. Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "daemon/modes/forward.h"

namespace tapdeck::modes {

// What one try on one lane has come to.
struct ForwardHandler::Attempt {
  RequestSource& source;
  std::unique_ptr<upstream::Lane> lane;
  std::optional<Error> request_failure;  // the client's side broke while its body was being sent
  std::string websocket_key{};           // of the handshake that was made of an extended CONNECT
  exchange::Clock::time_point waits_since = exchange::Clock::now();  // for the origin, who has all that it is given
  bool request_sent = false;
  bool response_begun = false;  // any byte of an answer: no retry afterwards
  bool is_nested = false;       // what goes through its tunnel is counted by the connection at the other end

  void note_sent() {
    request_sent = true;
    waits_since = exchange::Clock::now();
  }
  // Something of the answer is there; only the first time counts.
  void note_answer(exchange::Facts& facts) {
    if (std::exchange(response_begun, true)) return;
    const auto now = exchange::Clock::now();
    facts.upstream_first_byte = now - facts.began;
    facts.upstream_wait = now - waits_since;
  }
};

// A request and how it is tried next.
struct ForwardHandler::Tries {
  RequestSource& source;
  upstream::Key key;
  upstream::Asker asker;
  upstream::Fresh fresh = upstream::Fresh::No;
  unsigned refusals = 0;

  // False: what was read of its body is not there to be sent again.
  [[nodiscard]] bool rewind(exchange::Facts& facts) {
    if (!source.can_rewind()) return false;
    source.rewind();
    facts.reset_code.reset();  // that of the try before
    return true;
  }
};

// How far a response has come on its way to the client.
struct ForwardHandler::Passing {
  http::Headers trailers{};
  unsigned informed = 0;   // interim responses
  bool ended = false;      // with its head
  bool switching = false;  // Upgraded follows the end of the message
};

}  // namespace tapdeck::modes

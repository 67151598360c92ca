// One try of a request on one lane, as forward.cc and forward_tunnel.cc see it. Private to ForwardHandler.
//
// Owner: serve() or serve_over(), for the length of the try. Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string>

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
};

}  // namespace tapdeck::modes

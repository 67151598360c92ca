// One try of a request on one lane, as forward.cc and forward_tunnel.cc see it. Private to ForwardHandler.
//
// Owner: serve() or serve_over(), for the length of the try. Thread: the worker's.
#pragma once

#include <memory>
#include <optional>

#include "daemon/modes/forward.h"

namespace tapdeck::modes {

// What one try on one lane has come to.
struct ForwardHandler::Attempt {
  RequestSource& source;
  std::unique_ptr<upstream::Lane> lane;
  std::optional<Error> request_failure;  // the client's side broke while its body was being sent
  bool request_sent = false;
  bool response_begun = false;  // any byte of an answer: no retry afterwards
  bool is_nested = false;       // what goes through its tunnel is counted by the connection at the other end
};

}  // namespace tapdeck::modes

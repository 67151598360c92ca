// What a request asks of a tape: its match key, made while it is read.
//
// Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include "daemon/config/config.h"
#include "daemon/exchange/exchange.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/tape.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// What is asked for: the key and its comparable parts.
struct Question {
  store::Key key;
  store::KeyParts parts;
};

// A question in the making: the request's head, then its body as it is read.
class Asking {
 public:
  // All must outlive it.
  Asking(const exchange::Exchange& exchange, const Tape& tape, const config::Route* route, Metrics& metrics)
      : builder_(begin(exchange, tape)), body_key_(route, exchange.request(), tape.hasher, metrics) {}
  // The key of a request without a body is this builder's.
  [[nodiscard]] static store::KeyBuilder begin(const exchange::Exchange& exchange, const Tape& tape);
  void body(std::string_view bytes) {
    builder_.body(bytes);
    body_key_.update(bytes);
  }
  // Once, after the whole body.
  [[nodiscard]] Question finish();

 private:
  store::KeyBuilder builder_;
  BodyKey body_key_;
};

}  // namespace tapdeck::modes

// What a request asks of a tape: its match key, made while it is read.
//
// Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/config/config.h"
#include "daemon/exchange/exchange.h"
#include "daemon/modes/body_difference.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/tape.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// In the key of a request whose answer came before its body had, with the length that the client announced: its bytes
// are as many as it happened to send.
inline constexpr std::string_view kEarlyDimension = "early";

// Makes it the key of such a request, whatever of its body the builder has seen.
void make_early(store::KeyBuilder& builder, const http::RequestHead& request);

// What is asked for: the key and its comparable parts.
struct Question {
  store::Key key;
  store::KeyParts parts;
  std::optional<store::Key> conditional;  // of the origin's own answers to this condition or range
  std::optional<store::Key> as_get;       // of the GET that answers a HEAD
  // Of the body as it was sent, where `key` is of one without cookies (cookie_body.h): on tapes of earlier versions.
  std::optional<store::Key> as_sent;
  // Of an answer that came before the body of such a request had. Replay alone asks for it: who may forward knows
  // better.
  std::optional<store::Key> early;
  // See Asking::keep_beginning(); nullopt: not kept, or let go.
  std::optional<std::string> body_begin;
};

// A question in the making: the request's head, then its body as it is read.
class Asking {
 public:
  // All must outlive it.
  Asking(const exchange::Exchange& exchange, const Tape& tape, const config::Route* route, Metrics& metrics)
      : exchange_(exchange),
        tape_(tape),
        builder_(begin(exchange, tape, store::key_method(exchange.request()))),
        body_key_(route, exchange.request(), tape.hasher, metrics) {}
  // The key of a request without a body is this builder's.
  [[nodiscard]] static store::KeyBuilder begin(const exchange::Exchange& exchange, const Tape& tape,
                                               std::string_view method);
  // Of the body, for who may have to explain a miss: Question::body_begin, at most kSeenBody as it was sent.
  void keep_beginning() {
    keeps_beginning_ = true;
    body_key_.keep_beginning();
  }
  void body(std::string_view bytes) {
    builder_.body(bytes);
    body_key_.update(bytes);
  }
  // Once, after the whole body.
  [[nodiscard]] Question finish();
  // See Question::early.
  [[nodiscard]] store::Key early_key() const;
  // With the digest of the bytes that came so far.
  [[nodiscard]] store::KeyParts parts_so_far() const;

 private:
  const exchange::Exchange& exchange_;
  const Tape& tape_;
  store::KeyBuilder builder_;
  BodyKey body_key_;
  bool keeps_beginning_ = false;
};

}  // namespace tapdeck::modes

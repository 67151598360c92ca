// RecordHandler: wraps the forwarding of an exchange and keeps what passed.
//
// Bytes stream through; only the smallest suffix without which the client cannot think the response whole is held
// until the recording is as safe as promised. Owner: the worker. Thread: its own.
#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "daemon/config/config.h"
#include "daemon/exchange/handler.h"
#include "daemon/modes/cursors.h"
#include "daemon/modes/recording_exchange.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/modes/store_link.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

// What recording needs beside the exchange. All outlive the handler.
struct RecordContext {
  store::ExchangeStore* store = nullptr;  // for ids only
  StoreLink* link = nullptr;
  const store::Redactor* redactor = nullptr;
  Metrics* metrics = nullptr;
  uint64_t max_body = 0;  // 0: none; else longer bodies are treated as `body_oversize`, or the route, says
  config::BodyOversize body_oversize = config::BodyOversize::Stream;
  Cursors* cursors = nullptr;  // where hybrid mode counts what it has given a client (repeat = "once")
  // The clients were told to end, so that what they leave from then on says nothing of them; null: never.
  const std::atomic<bool>* interrupted = nullptr;
};

class RecordHandler final {
 public:
  RecordHandler(RecordContext context, exchange::Handler& inner) : context_(context), inner_(inner) {}

  // Serves by the inner handler, recording onto `target.tape` (not null). `route` is null when none matched;
  // `route_name` goes into the provenance. All must stay alive until it returns: the caller keeps the snapshot.
  // `extends`: the takes it may become part of, by the key it is found by in the end; none of them: the tape's own.
  net::Task<Result<void>> serve(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                                std::string_view route_name, std::span<const KeyTake> extends = {});

 private:
  struct Taping;
  // Body bytes a direction beyond which it is passed on unrecorded, and beyond which it is refused.
  struct Bounds {
    uint64_t bypass;
    uint64_t error;
  };
  // Ends the recording and gives it to the store. An error says that it is not safe there; but Cancelled only that the
  // client left meanwhile, which changes nothing about what the store was given.
  net::Task<Result<void>> commit(store::RecordingBuilder& builder, const RecordingExchange& recording,
                                 store::Outcome outcome);
  // What is left of an exchange that `error` ended: the answer to a failure, a prefix, or nothing.
  net::Task<> keep_unanswered(store::RecordingBuilder& builder, RecordingExchange& recording, const Error& error,
                              Strict strict);
  // What an origin's failure left: the answer the client is given, kept so that replay gives it again.
  net::Task<> keep_failure(store::RecordingBuilder& builder, RecordingExchange& recording, const Error& error,
                           Strict strict);
  // Of a strict target: nothing of it is to be on tape, and its client is reset.
  void take_back(const store::RecordingBuilder& builder, RecordingExchange& recording, const Error& why);
  // What an exchange left that broke off: a prefix, or nothing if the store has refused a part.
  void keep_part(store::RecordingBuilder& builder, RecordingExchange& recording, const Error& error);
  // What a client was given that left at its deadline. That error.
  Result<void> keep_abandoned(store::RecordingBuilder& builder, RecordingExchange& recording);
  // What became of a whole exchange. False: its client is not given the end of it, being gone or reset.
  [[nodiscard]] bool note_whole(const store::RecordingBuilder& builder, RecordingExchange& recording,
                                const Result<void>& committed, Strict strict);
  // Takes back what of it went to the store already, which a crash would make a recording of.
  void leave_nothing(store::RecordingBuilder& builder);
  void note_bypass(const store::RecordingBuilder& builder, const RecordingExchange& recording, Strict strict);
  void note_loss(uint64_t recording, std::string_view what, const Error& why);
  // max_body where that is what becomes of longer bodies, else UINT64_MAX.
  [[nodiscard]] uint64_t limit_of(config::BodyOversize policy, const config::Route* route) const;
  // Given to its client by having been recorded for it: the next such request is not to get it.
  void count_as_given(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                      store::RecordingBuilder& builder);
  void count_redactions(const store::RedactionCounts& redactions);

  RecordContext context_;
  store::DigestMemo digests_;
  exchange::Handler& inner_;
};

}  // namespace tapdeck::modes

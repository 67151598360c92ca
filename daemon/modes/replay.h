// ReplayHandler: answers from the store, never from the network. A miss explains itself.
//
// Hits in the worker's hot cache are answered without waiting; anything else hops to the reader pool once.
// Owner: the worker. Thread: its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/exchange/handler.h"
#include "daemon/modes/grpc_replay.h"
#include "daemon/modes/hot_cache.h"
#include "daemon/modes/known_absent.h"
#include "daemon/modes/question.h"
#include "daemon/modes/replay_context.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/modes/turns.h"
#include "daemon/modes/websocket_casting.h"

namespace tapdeck::modes {

// How a lookup ended.
struct Found {
  std::shared_ptr<const ReplayItem> item;     // null: a miss
  bool exhausted = false;                     // Repeat::Once and all were used
  bool deleted = false;                       // it was, since it was looked up
  bool unfinished = false;                    // a miss: the 200 to take a part of, or to judge by, is not whole
  bool last_resort = false;                   // nothing of its key is finished
  size_t turns = 0;                           // that its key has
  std::vector<KeyTake> takes;                 // of those, by key: what is recorded now belongs behind its own
  std::shared_ptr<WebSocketCasting> casting;  // of a WebSocket that others of its key may play as well; else null
};

// Take: the next identical request gets the next recording. Look: the turn is left to that.
enum class Turn { Take, Look };

// In which order the recordings of a key answer, and which do. By the route (nullptr: none) and the mode.
[[nodiscard]] config::Repeat repeat_of(const config::Route* route);
[[nodiscard]] Answers answers_of(exchange::Exchange& exchange, const config::Route* route);

// What became of a request whose client paused inside its body.
enum class Midway {
  Answered,  // it waited for the answer
  Awaited,   // a recording may answer when the rest is there
  Unknown,   // no recording begins so
};

class ReplayHandler final {
 public:
  explicit ReplayHandler(ReplayContext context) : context_(context), cache_(context.hot_bytes), grpc_(context) {}

  // The hot path. No: not in memory, or not to be sent without waiting.
  exchange::Served serve_now(exchange::Exchange& exchange, const TargetState& target, const config::Route* route);
  // Replays or explains the miss. `target` has a tape and must stay alive until it returns.
  net::Task<Result<void>> serve(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                                std::string_view route_name);

  // ---- the steps, for hybrid mode
  // Known without waiting, and counted as a miss then. False: find() out.
  [[nodiscard]] bool is_surely_absent(const TargetState& target, const Question& question);
  // The recording whose turn it is: of this very condition (each once), else of the plain request, else for HEAD of the
  // GET, whose turn stays its own.
  net::Task<Result<Found>> find(exchange::Exchange& exchange, const TargetState& target, const Question& question,
                                const config::Route* route, Turn turn = Turn::Take);
  // As recorded, or as the request asks for it (rendition.h), at the route's pace. `gate` as Pacer's, `casting` of what
  // was found.
  net::Task<Result<void>> play(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                               const config::Route* route, Gate* gate = nullptr,
                               std::shared_ptr<WebSocketCasting> casting = nullptr);
  // A client that paused inside its body may wait for the answer: of a recording in which one came there and that
  // begins with what `asking` has been told. What is read on goes to `asking` and, while nothing was answered, stays in
  // `request`.
  net::Task<Result<Midway>> answer_midway(ReplayedRequest& request, Asking& asking, const TargetState& target,
                                          const config::Route* route);
  net::Task<Result<void>> explain_miss(exchange::Exchange& exchange, const TargetState& target,
                                       const Question& question, const config::Route* route,
                                       std::string_view route_name, const Found& found);
  // gRPC calls are answered message by message.
  [[nodiscard]] GrpcReplay& grpc() { return grpc_; }

 private:
  // What answers a request that has come so far.
  struct Begun {
    std::shared_ptr<const ReplayItem> item;
    bool turns = false;   // in turns, as recorded
    bool others = false;  // see Beginnings
    CursorKey key;        // whose turn was taken for it
  };
  net::Task<Result<Begun>> find_begun(exchange::Exchange& exchange, const Asking& asking, const TargetState& target,
                                      const config::Route* route, const Progress& progress);
  // The client stopped, or went on in another way, inside a request that replay alone could answer.
  void note_missed(exchange::Exchange& exchange, Counter reason);
  // A recorded answer that came instead of "100 Continue" (413, 401): for the request without the body it waits with.
  net::Task<Result<Found>> find_refusal(exchange::Exchange& exchange, const TargetState& target,
                                        const config::Route* route);
  // The key of what was recorded beside the full responses of `key`, if that comes before the next of those. Where all
  // is unfinished, nothing has a turn.
  net::Task<Result<std::optional<store::Key>>> next_beside(CursorKey key, const TargetState& target,
                                                           const Question& question, Answers answers);
  // Without asking the store: most requests have nothing beside their full responses, and must not wait to learn that.
  [[nodiscard]] bool is_known_absent(const TargetState& target, const store::Key& key);
  // The recordings of a key; null: none.
  net::Task<Result<HotEntry*>> entry_of(const CursorKey& key, const TargetState& target, Answers answers);
  // When that whose turn it is was recorded (ExchangeStore::in_time); nullopt: none, or all have had theirs.
  net::Task<Result<std::optional<uint64_t>>> next_id(const CursorKey& key, const TargetState& target, Answers answers);
  // The same, but nullopt where all are unfinished.
  net::Task<Result<std::optional<uint64_t>>> next_finished(const CursorKey& key, const TargetState& target,
                                                           Answers answers);
  // What its client left and cannot be an answer to this request is passed over.
  net::Task<Result<Found>> find_key(const CursorKey& key, const TargetState& target, config::Repeat repeat,
                                    Answers answers, Turn turn, const http::RequestHead& request);
  // The one whose turn it is; of Turn::Look so many turns `ahead`.
  net::Task<Result<Found>> find_existing(const CursorKey& key, const TargetState& target, config::Repeat repeat,
                                         Answers answers, Turn turn, uint64_t ahead);
  net::Task<Result<Found>> look_up(const CursorKey& key, const TargetState& target, config::Repeat repeat,
                                   Answers answers, Turn turn, uint64_t ahead);
  // Found::casting of the recording `id`.
  [[nodiscard]] std::shared_ptr<WebSocketCasting> casting_of(const CursorKey& key, const TargetState& target,
                                                             config::Repeat repeat, uint64_t id);
  // The takes of what may be recorded now.
  net::Task<Result<std::vector<KeyTake>>> takes_of(CursorKey key, const TargetState& target, const Question& question);
  net::Task<Result<HotEntry*>> load_entry(const CursorKey& key, const TargetState& target, Answers answers);
  // Null: it was deleted since it was looked up.
  net::Task<Result<std::shared_ptr<const ReplayItem>>> load(CursorKey key, const TargetState& target, uint64_t id);
  // Where a client gave up, one that stays is given what comes next instead.
  net::Task<Result<Found>> find_for_who_stays(exchange::Exchange& exchange, const TargetState& target,
                                              const Question& question, const config::Route* route);
  void count_hit(exchange::Exchange& exchange, const ReplayItem& item);

  ReplayContext context_;
  HotCache cache_;
  KnownAbsent absent_;
  GrpcReplay grpc_;
};

}  // namespace tapdeck::modes

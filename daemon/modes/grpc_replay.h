// GrpcReplay: answers gRPC calls of all four kinds from the store, message by message.
//
// Which recording: those whose first client message is the same (or that have none) are candidates, found by key; the
// first of them in the route's `repeat` order plays; unfinished recordings, of clients that left, come last. Each
// further client message is compared with what it expects; when it differs, the next candidate that agrees with
// everything said and sent so far takes over. When: a server message, and the trailers, wait for the client messages
// that passed before them in the recording. A miss is a trailers-only answer with grpc-status 9 and the miss JSON as
// grpc-message; in the middle of a stream it is trailers of that kind. Owner: the worker. Thread: its own.
#pragma once

#include <memory>

#include "daemon/config/config.h"
#include "daemon/modes/grpc_call.h"
#include "daemon/modes/hot_cache.h"
#include "daemon/modes/known_absent.h"
#include "daemon/modes/replay_context.h"
#include "daemon/modes/runtime_state.h"

namespace tapdeck::modes {

struct GrpcItem;

enum class Answered { No, Yes };

class GrpcReplay final {
 public:
  // As ReplayHandler's, which owns this; `hot_bytes` for these recordings alone.
  explicit GrpcReplay(const ReplayContext& context);
  ~GrpcReplay();

  // Replay mode: a miss is answered.
  net::Task<Result<void>> serve(exchange::Exchange& exchange, const TargetState& target, const config::Route* route,
                                std::string_view route_name);
  // Modes that forward what is not recorded. No: nothing was sent, and `request` gives out the whole body again.
  net::Task<Result<Answered>> try_serve(ReplayedRequest& request, const TargetState& target, const config::Route* route,
                                        std::string_view route_name, size_t keep);

 private:
  struct Playing;
  net::Task<Result<void>> play(Playing& playing);
  // The candidates of playing.key as they are in the store; nullptr: none.
  net::Task<Result<HotEntry*>> look_up(Playing& playing);
  enum class By { FirstMessage, ServerFirst, Silence, Early };
  net::Task<Result<void>> find(Playing& playing, By by);
  // The candidates of `entry`, from the one whose turn it is.
  static void take_candidates(Playing& playing, const HotEntry& entry);
  net::Task<Result<void>> choose(Playing& playing);
  // What comes behind a call that its client gave up, for one that stays; the same again: nothing else agrees.
  net::Task<Result<void>> choose_next(Playing& playing);
  net::Task<Result<void>> wait_as_left(Playing& playing);
  net::Task<Result<void>> play_early(Playing& playing);
  net::Task<Result<void>> perform(Playing& playing);
  net::Task<Result<void>> finish(Playing& playing);
  [[nodiscard]] static bool is_to_be_left(const Playing& playing);
  net::Task<Result<Answered>> conclude(Playing& playing);
  net::Task<Result<void>> answer_miss(Playing& playing);
  // Null: it was deleted since it was looked up.
  net::Task<Result<std::shared_ptr<const GrpcItem>>> load(Playing& playing, uint64_t id);

  ReplayContext context_;
  HotCache cache_;           // of GrpcItems
  KnownAbsent never_first_;  // methods without a recording in which the server speaks first: most
};

}  // namespace tapdeck::modes

// Tapes: opens what a target works with (session, take, key hasher) and publishes it to the workers.
//
// Owner: the Engine. Thread: control threads, one call at a time a slot.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/modes/cursors.h"
#include "daemon/modes/runtime_state.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

// What a slot is to do from now on.
struct Assignment {
  std::string name;
  Mode mode = Mode::Record;
  std::string session = "default";
  modes::Strict strict = modes::Strict::No;
  modes::Sealed sealed = modes::Sealed::No;
  std::vector<std::string> bypass;
  store::Append append = store::Append::No;
  // Who it is over restarts of the daemon: with Append::Yes it goes on with the take it had, if session and mode are
  // the same, and with none that somebody else opened since. Empty: nobody in particular.
  std::string holder;
};

class Tapes {
 public:
  // What some route does with a tape, whatever its target's mode; Record: and perhaps another replays.
  enum class Routes { NoTape, Replay, Record };
  [[nodiscard]] static Routes routes_of(const std::vector<config::Route>& routes);

  // All outlive this.
  Tapes(store::ExchangeStore& store, modes::RuntimeState& runtime, modes::Cursors& cursors, MetricsRegistry& metrics,
        Routes routes)
      : store_(store), runtime_(runtime), cursors_(cursors), metrics_(metrics), routes_(routes) {}

  // Opens a new take where something may be recorded and publishes the slot. Replay of a session that does not exist is
  // NotFound and names the nearest; nothing has changed then. Where a route alone would replay it, the slot is
  // published without a tape, and the log says so.
  Result<void> assign(uint32_t slot, const Assignment& assignment);
  // Publishes the slot without a tape: what needs one is answered with an error that says so.
  void assign_without_tape(uint32_t slot, const Assignment& assignment);
  void vacate(uint32_t slot);
  // The number of the take that `slot` records into; 0: none.
  [[nodiscard]] uint64_t take_of(uint32_t slot) const;

 private:
  void publish(uint32_t slot, const Assignment& assignment, std::shared_ptr<const modes::Tape> tape);
  // Changes the slot; the cursors of a tape that it has no more go.
  void change(uint32_t slot, const std::function<void(modes::TargetState&)>& change);
  [[nodiscard]] Result<std::shared_ptr<const modes::Tape>> open(const Assignment& assignment);
  [[nodiscard]] Result<store::Take> open_take(const Assignment& assignment);
  store::ExchangeStore& store_;
  modes::RuntimeState& runtime_;
  modes::Cursors& cursors_;
  MetricsRegistry& metrics_;
  const Routes routes_;
  std::atomic<uint64_t> next_id_{1};
};

}  // namespace tapdeck::app

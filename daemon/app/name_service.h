// NameService: DNS over UDP of all targets, as each is set now. What resolvers answer goes into the session, whether it
// is seen in passing or we asked; where we answer (name_policy.h), that comes from there.
//
// Not what answers say (daemon/names) nor how questions come here (kernel/capture.h). Owner: the Engine. Thread: any;
// the name server has one of its own.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/app/name_keeper.h"
#include "daemon/app/name_views.h"
#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/kernel/capture.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/names/name_server.h"
#include "daemon/names/observer.h"
#include "store/exchange_store.h"
#include "store/store_writer.h"

namespace tapdeck::app {

class NameService {
 public:
  // All outlive it; `writer` may be null: nothing is recorded.
  struct Parts {
    const config::Config& config;
    const store::ExchangeStore& store;
    store::StoreWriter* writer = nullptr;
    const modes::RuntimeState& runtime;
    bool sees_tape = true;  // no: `store` is merged into the tape later, and knows nothing of it
  };
  explicit NameService(const Parts& parts);
  ~NameService();
  NameService(const NameService&) = delete;
  NameService& operator=(const NameService&) = delete;

  // Before anything is captured. `capture` is not used any more after stop().
  Result<void> start(kernel::Capture& capture);
  // Nobody is answered or observed any more. Before the capture dies. Gone: no client lives that might still be
  // answered: that what they wait for was not is noted where nothing is on tape of it.
  enum class Clients : uint8_t { MayWait, Gone };
  void stop(Clients clients = Clients::MayWait);

  // What the capture tells (kernel::ListenerSink); where none is started it is forgotten.
  void add_door(kernel::NameDoor door);
  void remove_door(uint64_t id);
  void saw(const kernel::NameSighting& seen);
  void lost_some(uint64_t more);
  // Sockets of a namespace where every address is local, bound to port 53 of the wildcard; who asks there is `slot`.
  Result<void> serve(UniqueFd v4, UniqueFd v6, uint32_t slot);
  // The slot's target is detached: what is open of it is not the next one's.
  void let_go(uint32_t slot);
  // Time passes: an answer that has not come by now does not come.
  void tick();

  [[nodiscard]] std::vector<UnknownName> unknown() const { return views_.unknown(); }
  // What is not on tape of what resolvers answered: datagrams that were not told, look-ups of which that leaves no more
  // than a guess, and what could not be kept. After stop() and a flush of the writer: all of it.
  [[nodiscard]] uint64_t lost() const;
  void read(MetricsSnapshot& out) const;

 private:
  // Of a door.
  struct Place {
    Endpoint address;
    uint64_t netns_cookie = 0;
    uint32_t slot = kernel::kNoTarget;  // whose questions they all are, sent to the resolver's own address
    NameViews::From from = NameViews::From::OwnNetwork;
  };
  Result<void> open(uint64_t id, UniqueFd fd, Place place);
  [[nodiscard]] std::optional<names::Asker> asker_of(uint64_t door, const names::Datagram& datagram);
  [[nodiscard]] Result<UniqueFd> connect(const names::Asker& asker) const;
  void on_observed(uint32_t slot, const names::Lookup& lookup);

  const modes::RuntimeState& runtime_;
  NameKeeper keeper_;
  NameViews views_;
  const std::shared_ptr<names::View> passing_;  // of clients whose target is gone
  std::atomic<uint64_t> observed_{0};
  kernel::Capture* capture_ = nullptr;
  mutable std::mutex mutex_;  // the rest
  std::map<uint64_t, Place> places_;
  names::Observer observer_;
  uint64_t lost_datagrams_ = 0;
  std::unique_ptr<names::NameServer> server_;
  names::NameCounts counted_;  // by a server that was stopped
};

}  // namespace tapdeck::app

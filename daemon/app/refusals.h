// Refusals: tells the capture layer which destinations of a replayed target to refuse, because nothing but refusals is
// on tape of them (proxy.replay_refused). What it leaves out, or finds too late, the workers refuse by a reset.
//
// Reads the whole session, so it is called where targets are attached and changed, never by a worker, and only does it
// when the option is on. Owner: the Engine. Thread: any.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/app/tapes.h"
#include "daemon/config/config.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

class Refusals {
 public:
  // kernel::Capture::refuse_as_recorded.
  using Publish = std::function<Result<size_t>(uint32_t slot, const std::vector<Endpoint>& destinations)>;
  // `config` and `store` outlive this.
  Refusals(const config::Config& config, const store::ExchangeStore& store, Publish publish)
      : config_(config), store_(store), publish_(std::move(publish)) {}

  // The attached slot works as assigned from now on.
  void follow(uint32_t slot, const Assignment& assignment);
  // The same again if its session holds other recordings than the last time. Often called; cheap when it does not.
  void look_again(uint32_t slot);
  // The slot refuses nothing any more.
  void forget(uint32_t slot);

 private:
  struct Followed {
    Assignment assignment;
    store::SessionInfo seen;
    std::chrono::steady_clock::time_point not_before;  // of the next walk
    uint64_t walk = 0;                                 // the last that began: an earlier one tells nothing any more
  };
  [[nodiscard]] bool concerns(const Assignment& assignment) const;
  [[nodiscard]] Result<std::vector<Endpoint>> find(const Assignment& assignment) const;
  // The slot's entry is begin()'s with mutex_ held; the walk itself is without.
  uint64_t begin(Followed& followed);
  void walk(uint32_t slot, const Assignment& assignment, uint64_t number);

  const config::Config& config_;
  const store::ExchangeStore& store_;
  const Publish publish_;
  std::mutex mutex_;  // never held while a session is read
  uint64_t walks_ = 0;
  std::map<uint32_t, Followed> followed_;
};

}  // namespace tapdeck::app

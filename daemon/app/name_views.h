// NameViews: how the questions of each target are answered, as it is set now; which names were asked for in vain.
// Owner: the NameService. Thread: of() and what the views call, the name server's; unknown() any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/app/name_keeper.h"
#include "daemon/app/session_names.h"
#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/names/view.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

// That was asked for and is not on tape.
struct UnknownName {
  uint32_t target = 0;
  uint32_t pid = 0;  // 0: not known
  std::string comm;
  std::string name;
};

class NameViews {
 public:
  // All outlive this.
  NameViews(const config::Config& config, const store::ExchangeStore& store, NameKeeper& keeper)
      : config_(config), store_(store), keeper_(keeper) {}

  // OwnNetwork: the client's own, where its resolver may be asked. AllIsLocal: resolvers are asked from outside, by
  // this process, and what cannot be reached by it is of no use to the client.
  enum class From : uint8_t { OwnNetwork, AllIsLocal };
  // Null: the target is detached.
  [[nodiscard]] std::shared_ptr<names::View> of(uint32_t slot, const modes::TargetState& target, From from);

  static constexpr size_t kMostUnknown = 1000;
  [[nodiscard]] std::vector<UnknownName> unknown() const;
  void read(MetricsSnapshot& out) const;

 private:
  struct Made {
    modes::TargetState as;
    std::shared_ptr<names::View> view;
  };
  [[nodiscard]] std::shared_ptr<names::View> make(const modes::TargetState& target, From from);
  [[nodiscard]] names::TapeSources sources_of(const modes::TargetState& target);
  void on_unknown(TargetSlot label, const names::Asker& asker, const std::string& name);

  const config::Config& config_;
  const store::ExchangeStore& store_;
  NameKeeper& keeper_;
  std::map<uint32_t, Made> made_;  // by slot
  mutable std::mutex mutex_;       // the next two
  std::vector<UnknownName> unknown_;
  std::map<TargetSlot, uint64_t> misses_;  // by label
};

}  // namespace tapdeck::app

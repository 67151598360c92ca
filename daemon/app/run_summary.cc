#include "daemon/app/run_summary.h"

#include <nlohmann/json.hpp>

namespace tapdeck::app {

std::string summary_line(const RunSummary& summary) {
  uint64_t uncaptured = 0;
  for (const auto& [reason, count] : summary.uncaptured) uncaptured += count;
  return "tapdeck: session " + summary.session + ": " + std::to_string(summary.recorded) + " recorded, " +
         std::to_string(summary.replayed) + " replayed, " + std::to_string(summary.missed) + " missed, " +
         std::to_string(summary.tunnelled) + " tunnelled, " + std::to_string(uncaptured) + " not captured";
}

std::string summary_json(const RunSummary& summary) {
  using Json = nlohmann::ordered_json;
  Json uncaptured = Json::object();
  for (const auto& [reason, count] : summary.uncaptured) {
    if (count != 0) uncaptured[reason] = count;
  }
  Json refused = Json::array();
  for (const RefusedFlow& flow : summary.refused) {
    refused.push_back({{"pid", flow.pid},
                       {"comm", flow.comm},
                       {"protocol", flow.protocol},
                       {"destination", flow.destination},
                       {"name", flow.name}});
  }
  const Json json = {{"session", summary.session},     {"mode", to_string(summary.mode)},
                     {"take", summary.take},           {"recorded", summary.recorded},
                     {"replayed", summary.replayed},   {"missed", summary.missed},
                     {"tunnelled", summary.tunnelled}, {"uncaptured", std::move(uncaptured)},
                     {"refused", std::move(refused)},  {"exit", summary.exit}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tapdeck::app

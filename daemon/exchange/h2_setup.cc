#include "daemon/exchange/h2_setup.h"

#include <array>
#include <utility>

#include "daemon/base/log.h"

namespace tapdeck::exchange {

namespace {

struct Abuse {
  Counter counter;
  std::string_view name;
};

// In the order of http::H2Abuse.
constexpr std::array<Abuse, http::kH2AbuseKinds> kAbuses = {{
    {Counter::H2RapidReset, "rapid_reset"},
    {Counter::H2ServerReset, "server_reset"},
    {Counter::H2ContinuationFlood, "continuation_flood"},
    {Counter::H2SettingsFlood, "settings_flood"},
    {Counter::H2PingFlood, "ping_flood"},
    {Counter::H2PriorityFlood, "priority_flood"},
    {Counter::H2Hpack, "hpack"},
    {Counter::H2EmptyFrames, "empty_frames"},
    {Counter::H2WindowGames, "window_games"},
    {Counter::H2HeaderCount, "header_count"},
}};

}  // namespace

http::H2Options h2_options(Metrics& metrics, std::string peer, uint32_t streams) {
  static const SystemClock clock;
  http::H2Options options;
  options.clock = &clock;
  options.max_streams = streams;
  options.on_abuse = [&metrics, peer = std::move(peer)](http::H2Abuse kind) {
    const Abuse& abuse = kAbuses[static_cast<size_t>(kind)];
    metrics.add(abuse.counter);
    log::peer(log::Level::Warn, "h2.abuse", "a peer passed an HTTP/2 limit", {{"kind", abuse.name}, {"peer", peer}});
  };
  return options;
}

}  // namespace tapdeck::exchange

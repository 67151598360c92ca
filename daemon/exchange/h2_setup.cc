#include "daemon/exchange/h2_setup.h"

#include <utility>

#include "daemon/base/log.h"

namespace tapdeck::exchange {

namespace {

struct Abuse {
  Counter counter;
  std::string_view name;
};

Abuse abuse_of(http::H2Abuse kind) {
  switch (kind) {
    case http::H2Abuse::RapidReset:
      return {Counter::H2RapidReset, "rapid_reset"};
    case http::H2Abuse::ServerReset:
      return {Counter::H2ServerReset, "server_reset"};
    case http::H2Abuse::ContinuationFlood:
      return {Counter::H2ContinuationFlood, "continuation_flood"};
    case http::H2Abuse::SettingsFlood:
      return {Counter::H2SettingsFlood, "settings_flood"};
    case http::H2Abuse::PingFlood:
      return {Counter::H2PingFlood, "ping_flood"};
    case http::H2Abuse::PriorityFlood:
      return {Counter::H2PriorityFlood, "priority_flood"};
    case http::H2Abuse::Hpack:
      return {Counter::H2Hpack, "hpack"};
    case http::H2Abuse::EmptyFrames:
      return {Counter::H2EmptyFrames, "empty_frames"};
    case http::H2Abuse::WindowGames:
      return {Counter::H2WindowGames, "window_games"};
    case http::H2Abuse::HeaderCount:
      return {Counter::H2HeaderCount, "header_count"};
  }
  std::unreachable();
}

}  // namespace

http::H2Options h2_options(Metrics& metrics, std::string peer, uint32_t streams) {
  static const SystemClock clock;
  http::H2Options options;
  options.clock = &clock;
  options.max_streams = streams;
  options.on_abuse = [&metrics, peer = std::move(peer)](http::H2Abuse kind) {
    const Abuse abuse = abuse_of(kind);
    metrics.add(abuse.counter);
    log::peer(log::Level::Warn, "h2.abuse", "a peer passed an HTTP/2 limit", {{"kind", abuse.name}, {"peer", peer}});
  };
  return options;
}

}  // namespace tapdeck::exchange

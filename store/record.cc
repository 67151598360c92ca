#include "store/record.h"

namespace tapdeck::store {

std::string_view to_string(Message::Kind kind) {
  switch (kind) {
    case Message::Kind::Text:
      return "text";
    case Message::Kind::Binary:
      return "binary";
    case Message::Kind::Ping:
      return "ping";
    case Message::Kind::Pong:
      return "pong";
    case Message::Kind::Close:
      return "close";
    case Message::Kind::Grpc:
      return "grpc";
    case Message::Kind::GrpcHead:
      return "grpc-head";
    case Message::Kind::GrpcEnd:
      return "grpc-end";
  }
  return "binary";
}

std::string_view to_string(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::Complete:
      return "complete";
    case Outcome::Kind::Truncated:
      return "truncated";
    case Outcome::Kind::Reset:
      return "reset";
    case Outcome::Kind::Failed:
      return "failed";
    case Outcome::Kind::Incomplete:
      return "incomplete";
  }
  return "unknown";
}

bool was_turned_away(const Recording& recording) {
  constexpr uint32_t kRefusedStream = 7;
  constexpr uint32_t kHttp11Required = 13;
  const Outcome& outcome = recording.outcome;
  if (outcome.kind != Outcome::Kind::Reset || outcome.reason != "upstream_reset") return false;
  return recording.response.status == 0 && (outcome.code == kRefusedStream || outcome.code == kHttp11Required);
}

bool is_last_resort(const Recording& recording) {
  return recording.outcome.kind == Outcome::Kind::Incomplete || was_turned_away(recording);
}

ReplayRank replay_rank_of(const Recording& recording) {
  if (!is_last_resort(recording)) return ReplayRank::Finished;
  const Outcome& outcome = recording.outcome;
  const bool is_told = recording.version >= 4;  // by itself, or not
  const bool was_left = is_told && outcome.kind == Outcome::Kind::Incomplete && outcome.reason == kClientGone;
  return was_left ? ReplayRank::Left : ReplayRank::LastResort;
}

int64_t ended_unix_us(const Recording& recording) {
  return static_cast<int64_t>(static_cast<uint64_t>(recording.started_unix_us) + recording.provenance.timings.total);
}

std::string Recording::url() const {
  const auto scheme_end = request.target.find("://");
  if (scheme_end != std::string::npos && scheme_end < request.target.find('/')) return request.target;
  std::string out = scheme + "://";
  const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  out += bare_v6 ? "[" + host + "]" : host;
  if (port != (scheme == "https" ? 443 : 80)) out += ":" + std::to_string(port);
  if (request.target.empty() || request.target.front() != '/') out += '/';
  return out + request.target;
}

}  // namespace tapdeck::store

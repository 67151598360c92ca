#include "daemon/base/vocabulary.h"

namespace tapdeck {

std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::Record:
      return "record";
    case Mode::Replay:
      return "replay";
    case Mode::Hybrid:
      return "hybrid";
    case Mode::Passthrough:
      return "passthrough";
  }
  return "record";
}

std::string_view to_string(CapturePath path) {
  switch (path) {
    case CapturePath::Cgroup:
      return "cgroup";
    case CapturePath::Tc:
      return "tc";
    case CapturePath::Explicit:
      return "explicit";
    case CapturePath::Netns:
      return "netns";
  }
  return "explicit";
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::Recorded:
      return "recorded";
    case Outcome::Replayed:
      return "replayed";
    case Outcome::Forwarded:
      return "forwarded";
    case Outcome::Missed:
      return "missed";
    case Outcome::Failed:
      return "failed";
  }
  return "failed";
}

std::optional<Mode> parse_mode(std::string_view text) {
  if (text == "record") return Mode::Record;
  if (text == "replay") return Mode::Replay;
  if (text == "hybrid" || text == "passthrough-cache") return Mode::Hybrid;
  if (text == "passthrough") return Mode::Passthrough;
  return std::nullopt;
}

bool can_produce(Mode mode, Outcome outcome) {
  if (outcome == Outcome::Failed) return true;
  switch (mode) {
    case Mode::Record:
      return outcome == Outcome::Recorded || outcome == Outcome::Forwarded;
    // Forwarded: a route may say on_miss = "forward".
    case Mode::Replay:
      return outcome != Outcome::Recorded;
    case Mode::Hybrid:
      return true;
    case Mode::Passthrough:
      return outcome == Outcome::Forwarded;
  }
  return false;
}

}  // namespace tapdeck

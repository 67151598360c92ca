#include "daemon/modes/websocket_script.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "daemon/modes/turns.h"

namespace tapdeck::modes {

using config::WebSocketMode;
using config::WebSocketPace;
using MessageKind = store::Message::Kind;

namespace {

// Without a Close of the origin. A recording that broke off ends with its last message: what came then is not known.
uint64_t last_moment(const store::Recording& recording) {
  const uint64_t last = recording.messages.empty() ? 0 : recording.messages.back().microseconds;
  if (recording.outcome.kind == store::Outcome::Kind::Incomplete) return last;
  return std::max(last, recording.provenance.timings.total);
}

}  // namespace

WebSocketScript::WebSocketScript(const store::Recording& recording, std::string_view request_body,
                                 std::string_view response_body, const config::WebSocket& options)
    : recording_(recording),
      bodies_{request_body, response_body},
      mode_(options.mode),
      pace_(options.pace),
      rules_(options.ignore),
      opened_(moment_of_head(recording)),
      last_asked_(opened_),
      end_(last_moment(recording)) {
  for (size_t i = 0; i < recording.messages.size(); ++i) read(recording.messages[i], i);
  if (mode_ == WebSocketMode::Matched) {
    for (size_t i = 0; i < asked_.size(); ++i) {
      by_identity_[identity_of(asked_[i].kind, asked_[i].payload)].push_back(i);
    }
  }
  bring_on(opening_, opened_, 0);
  if (mode_ == WebSocketMode::ServerOnly) {
    for (const Asked& asked : asked_) bring_on(asked.answers, opened_, 0);
    unmatched_ = 0;
    last_asked_ = opened_;
  }
  if (unmatched_ == 0) await_end(0);
}

void WebSocketScript::read(const store::Message& message, size_t index) {
  const bool from_client = message.side == store::BodySide::Request;
  switch (message.kind) {
    case MessageKind::Close:
      if (from_client) {
        client_closed_ = true;
      } else if (!close_) {
        close_ = Close{message.code, std::string(payload_of(message))};
        client_closes_first_ = client_closed_;
        end_ = message.microseconds;
      }
      return;
    case MessageKind::Text:
    case MessageKind::Binary:
      if (!from_client) break;
      // What the client still said while the origin's Close was on its way may come this time or not.
      if (!close_) {
        ++unmatched_;
        last_asked_ = message.microseconds;
      }
      asked_.push_back({message.kind, payload_of(message), message.microseconds, {}, !close_});
      return;
    case MessageKind::Ping:
      if (from_client) return;
      break;
    default:
      return;
  }
  (asked_.empty() ? opening_ : asked_.back().answers).push_back(index);
}

std::string_view WebSocketScript::payload_of(const store::Message& message) const {
  const std::string_view body = bodies_[static_cast<size_t>(message.side)];
  return body.substr(std::min<uint64_t>(message.offset, body.size()), message.length);
}

// JSON by value and without what is ignored; everything else as it is.
std::string WebSocketScript::identity_of(MessageKind kind, std::string_view payload) const {
  if (kind == MessageKind::Binary) return 'b' + std::string(payload);
  if (const auto canonical = rules_.canonical(payload)) return 'j' + *canonical;
  return 't' + std::string(payload);
}

uint64_t WebSocketScript::likeness(MessageKind kind, std::string_view payload) const {
  return std::hash<std::string>()(identity_of(kind, payload));
}

void WebSocketScript::bring_on(const std::vector<size_t>& answers, uint64_t since, uint64_t now) {
  for (const size_t index : answers) {
    const uint64_t recorded = recording_.messages[index].microseconds;
    const uint64_t delay = pace_ == WebSocketPace::Recorded && recorded > since ? recorded - since : 0;
    // Never before one that was brought on earlier: two answers at once keep their order.
    const uint64_t at = std::max(now + delay, due_.empty() ? 0 : due_.back().at);
    due_.push_back({index, at});
  }
}

// All that is needed of the client has come.
void WebSocketScript::await_end(uint64_t now) {
  const uint64_t delay = pace_ == WebSocketPace::Recorded && end_ > last_asked_ ? end_ - last_asked_ : 0;
  ends_at_ = std::max(now + delay, due_.empty() ? 0 : due_.back().at);
}

std::optional<size_t> WebSocketScript::find(MessageKind kind, std::string_view payload) {
  if (mode_ == WebSocketMode::Bidirectional) {
    const auto next = std::ranges::find(asked_, false, &Asked::used);
    if (next == asked_.end() || next->kind != kind || next->payload != payload) return std::nullopt;
    return static_cast<size_t>(next - asked_.begin());
  }
  const auto known = by_identity_.find(identity_of(kind, payload));
  if (known == by_identity_.end()) return std::nullopt;
  for (const size_t index : known->second) {
    if (!asked_[index].used) return index;
  }
  return known->second.back();
}

bool WebSocketScript::received(MessageKind kind, std::string_view payload, uint64_t now) {
  if (mode_ == WebSocketMode::ServerOnly) return true;
  ++count_;
  const auto index = find(kind, payload);
  if (!index) return false;
  Asked& asked = asked_[*index];
  const bool is_last = !std::exchange(asked.used, true) && asked.needed && --unmatched_ == 0;
  if (mode_ == WebSocketMode::Matched && kind == MessageKind::Text) rules_.learn(asked.payload, payload, replacements_);
  bring_on(asked.answers, asked.microseconds, now);
  if (is_last) await_end(now);
  return true;
}

bool WebSocketScript::catches_up(const std::vector<Spoken>& spoken) {
  return std::ranges::all_of(spoken, [this](const Spoken& one) {
    return one.side == store::BodySide::Request ? received(one.kind, one.payload, one.at) : passes(one);
  });
}

bool WebSocketScript::passes(const Spoken& sent) {
  const auto is_ping = [this](const Due& due) { return recording_.messages[due.message].kind == MessageKind::Ping; };
  while (!due_.empty() && is_ping(due_.front())) due_.pop_front();
  if (due_.empty()) return false;
  const std::string_view recorded = payload_of(recording_.messages[due_.front().message]);
  const auto line = next(UINT64_MAX);
  if (!line || line->kind != sent.kind) return false;
  if (identity_of(line->kind, line->payload) != identity_of(sent.kind, sent.payload)) return false;
  if (sent.kind == MessageKind::Text) rules_.learn(recorded, sent.payload, replacements_);
  return true;
}

// What the next message may be, the likeliest first: what has not come yet, then what may come again.
std::vector<WebSocketWords> WebSocketScript::expected() const {
  std::vector<WebSocketWords> out;
  for (const bool used : {false, true}) {
    for (const Asked& asked : asked_) {
      if (mode_ == WebSocketMode::Bidirectional && (used || !out.empty())) return out;
      if (asked.used == used) out.push_back({asked.kind, asked.payload});
    }
  }
  return out;
}

WebSocketMismatch WebSocketScript::mismatch(MessageKind kind, std::string_view payload) const {
  const std::vector<WebSocketWords> words = expected();
  WebSocketMismatch out{"only " + std::to_string(asked_.size()) + " recorded, and it is none of them", {}};
  const bool by_value = mode_ == WebSocketMode::Matched;
  if (!words.empty()) out = mismatch_with(words, {kind, payload}, by_value ? &rules_ : nullptr);
  out.reason = "message " + std::to_string(count_) + ": " + out.reason;
  return out;
}

std::optional<WebSocketScript::Line> WebSocketScript::next(uint64_t now) {
  over_ = over_ || (due_.empty() && ends_at_ && *ends_at_ <= now);
  if (due_.empty() || due_.front().at > now) return std::nullopt;
  const store::Message& message = recording_.messages[due_.front().message];
  due_.pop_front();
  Line line{message.kind, message.compressed, {}};
  const std::string_view payload = payload_of(message);
  line.payload = message.kind == MessageKind::Text ? rules_.replaced(payload, replacements_) : std::string(payload);
  return line;
}

std::optional<uint64_t> WebSocketScript::next_due() const {
  if (!due_.empty()) return due_.front().at;
  return over_ ? std::nullopt : ends_at_;
}

}  // namespace tapdeck::modes

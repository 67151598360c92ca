#include "daemon/modes/grpc_script.h"

#include <algorithm>
#include <span>
#include <utility>

#include "daemon/grpc/call.h"

namespace tapdeck::modes {

using StepKind = GrpcStep::Kind;

namespace {

GrpcStep step_of(const store::Message& message) {
  GrpcStep step{StepKind::ClientMessage, message.offset, message.length, message.microseconds};
  if (message.kind == store::Message::Kind::GrpcEnd) step.kind = StepKind::ClientEnd;
  if (message.kind == store::Message::Kind::GrpcHead) step.kind = StepKind::Head;
  if (message.kind == store::Message::Kind::Grpc && message.side == store::BodySide::Response)
    step.kind = StepKind::Bytes;
  return step;
}

}  // namespace

namespace {

// A head with a status ends the call. Its client left before it had got that.
bool is_head_seen(const store::Recording& recording) {
  const bool was_left = recording.outcome.kind == store::Outcome::Kind::Incomplete;
  return recording.response.status != 0 && !(was_left && grpc::status_of(recording.response.headers));
}

}  // namespace

GrpcScript make_script(const store::Recording& recording, std::vector<store::Digest> client) {
  GrpcScript script;
  script.client = std::move(client);
  bool head = false;
  uint64_t sent = 0;
  size_t waited = 0;
  for (const store::Message& message : recording.messages) {
    const GrpcStep step = step_of(message);
    if (step.kind == StepKind::Head && !is_head_seen(recording)) continue;
    if (step.kind == StepKind::ClientEnd) script.client_ended = true;
    if (step.kind == StepKind::Head) head = true;
    if (step.kind == StepKind::Bytes) sent = step.offset + step.length;
    // A message that nobody can compare any more (the digests ended before it) is not waited for.
    if (step.kind == StepKind::ClientMessage && waited++ >= script.client.size()) continue;
    script.steps.push_back(step);
  }
  const uint64_t last = script.steps.empty() ? 0 : script.steps.back().microseconds;
  if (!head && is_head_seen(recording)) script.steps.push_back({StepKind::Head, 0, 0, last});
  if (sent < recording.response_body.size) {
    script.steps.push_back({StepKind::Bytes, sent, recording.response_body.size - sent, last});
  }
  script.steps.push_back({StepKind::Finish, 0, 0, recording.provenance.timings.total});
  return script;
}

bool agrees(const GrpcScript& script, const GrpcSaid& said) {
  if (said.client.size() > script.client.size()) return false;
  if (!std::ranges::equal(said.client, std::span(script.client).first(said.client.size()))) return false;
  return !said.client_ended || said.client.size() == script.client.size();
}

const GrpcStep& GrpcPlay::next(const GrpcSaid& said) {
  const auto is_done = [&](const GrpcStep& step) {
    switch (step.kind) {
      case StepKind::ClientMessage:
        return client_passed_ < said.client.size();
      case StepKind::ClientEnd:
        return said.client_ended;
      case StepKind::Head:
        return said.head_sent;
      case StepKind::Bytes:
        return step.offset + step.length <= said.bytes_sent;
      case StepKind::Finish:
        break;
    }
    return false;
  };
  while (is_done(script_->steps[position_])) {
    if (script_->steps[position_].kind == StepKind::ClientMessage) ++client_passed_;
    ++position_;
  }
  return script_->steps[position_];
}

}  // namespace tapdeck::modes

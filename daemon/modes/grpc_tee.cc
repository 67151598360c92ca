#include "daemon/modes/grpc_tee.h"

#include "daemon/base/log.h"
#include "daemon/grpc/call.h"

namespace tapdeck::modes {

using store::BodySide;
using MessageKind = store::Message::Kind;

void GrpcTee::body(BodySide side, std::string_view bytes, uint64_t microseconds) {
  Direction& direction = directions_[static_cast<size_t>(side)];
  while (!direction.ended) {
    const auto next = direction.scanner.next(bytes);
    if (!next) {
      direction.ended = true;
      metrics_.add(Counter::GrpcMalformed);
      log::peer(log::Level::Warn, "grpc.malformed", "a body of a gRPC exchange does not consist of messages",
                {{"side", side == BodySide::Request ? "client" : "origin"}, {"detail", next.error().detail}});
    }
    if (!next || !*next) return;
    if ((*next)->ends) {
      const uint64_t end = builder_.body_size(side) - bytes.size();
      add({side, MessageKind::Grpc, (*next)->compressed, 0, direction.begin, end - direction.begin, microseconds});
      direction.begin = end;
      metrics_.add(side == BodySide::Request ? Counter::GrpcMessagesUp : Counter::GrpcMessagesDown);
    }
  }
}

namespace {

bool has_messages(const http::ResponseHead& head) {
  const auto type = head.headers.find("content-type");
  return type && grpc::is_grpc_content_type(*type);
}

}  // namespace

bool GrpcTee::is_server_first(const http::ResponseHead& head, http::EndStream end) const {
  return directions_[0].begin == 0 && !request_ended_ && end == http::EndStream::No && has_messages(head);
}

void GrpcTee::response_head(const http::ResponseHead& head, uint64_t microseconds) {
  if (!has_messages(head)) directions_[1].ended = true;
  mark(MessageKind::GrpcHead, BodySide::Response, microseconds);
}

void GrpcTee::mark(MessageKind kind, BodySide side, uint64_t microseconds) {
  add({side, kind, false, 0, builder_.body_size(side), 0, microseconds});
}

void GrpcTee::add(const store::Message& message) {
  if (count_ == kMaxMessages) return;
  ++count_;
  builder_.message(message);
}

}  // namespace tapdeck::modes

// GrpcTee: notes, while a gRPC exchange is recorded, where its messages lie in the two bodies and in which order they
// passed. Bodies are kept as they are by the RecordingBuilder; this only indexes them.
//
// The order is what replay obeys: a client can only have answered to what had passed towards it, so whatever stands
// before a client message in the index is all that it may have depended on, and replay may safely wait for it.
// Owner: a RecordingExchange. Thread: its worker's.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/base/metrics.h"
#include "daemon/grpc/message_scanner.h"
#include "daemon/http/codec.h"
#include "store/recording_builder.h"

namespace tapdeck::modes {

class GrpcTee {
 public:
  // Entries of the index: 256 Ki are 10 MiB, and days of a stream that ticks every second. What comes later is recorded
  // without an index and replayed after the last indexed message.
  static constexpr size_t kMaxMessages = 1 << 18;

  GrpcTee(store::RecordingBuilder& builder, Metrics& metrics) : builder_(builder), metrics_(metrics) {}

  // After the builder took the same bytes.
  void body(store::BodySide side, std::string_view bytes, uint64_t microseconds);
  void request_end(uint64_t microseconds) {
    request_ended_ = true;
    mark(store::Message::Kind::GrpcEnd, store::BodySide::Request, microseconds);
  }
  // A response of another type (a gateway's 502) has no messages.
  void response_head(const http::ResponseHead& head, uint64_t microseconds);
  // A response with messages begins before the client has said anything, or that it says nothing. A call refused by its
  // head alone is none: that the refusal overtook the message is chance.
  [[nodiscard]] bool is_server_first(const http::ResponseHead& head, http::EndStream end) const;
  [[nodiscard]] bool has_request_message() const { return directions_[0].begin > 0; }

 private:
  struct Direction {
    grpc::MessageScanner scanner;
    uint64_t begin = 0;  // of the current message, in the body
    bool ended = false;  // nothing is looked for any more
  };
  void mark(store::Message::Kind kind, store::BodySide side, uint64_t microseconds);
  void add(const store::Message& message);

  store::RecordingBuilder& builder_;
  Metrics& metrics_;
  Direction directions_[2];
  size_t count_ = 0;
  bool request_ended_ = false;
};

}  // namespace tapdeck::modes

// MessageDigests: what each message of a gRPC client comes to in matching, as it passes: a digest of the decoded
// message, or of what the route's rules choose of it.
//
// Without rules nothing is buffered. With rules a message up to kRuleBytes is; a longer one, and one that the rules
// cannot decode, is matched by its bytes, which is counted and logged. Owner: one exchange, or the loading of a
// recording. Thread: any, one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/metrics.h"
#include "daemon/coding/decoder.h"
#include "daemon/grpc/message_rules.h"
#include "daemon/grpc/message_scanner.h"
#include "daemon/http/message.h"
#include "daemon/modes/body_key.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// 4 MiB: what gRPC implementations accept by default.
inline constexpr size_t kRuleBytes = 4 << 20;

class MessageDigests {
 public:
  // `rules` may be null; it and `metrics` (null: nothing is counted) must outlive this.
  MessageDigests(const http::RequestHead& head, const grpc::MessageRules* rules, Metrics* metrics);

  // Body bytes in any portions; digests of messages that ended are appended. Bytes that are not gRPC messages end it:
  // is_broken(), and no digest comes any more.
  void feed(std::string_view bytes, std::vector<store::Digest>& out);
  [[nodiscard]] bool is_broken() const { return broken_; }
  // No message is unfinished.
  [[nodiscard]] bool is_between() const { return scanner_.is_between(); }
  // Of the first message, as its prefix announced it.
  [[nodiscard]] std::optional<uint32_t> first_length() const { return first_length_; }

 private:
  void begin(const grpc::MessagePiece& piece);
  void plain(std::string_view bytes);
  [[nodiscard]] store::Digest end();
  void fall_back(std::string_view why);

  std::string method_;
  std::optional<coding::Coding> coding_;  // of messages with the compressed flag; nullopt: not one we know
  const grpc::MessageRules* rules_;
  Metrics* metrics_;
  grpc::MessageScanner scanner_;
  size_t index_ = 0;  // of the current message
  std::optional<uint32_t> first_length_;
  // Of the current message. Its wire bytes are digested as well as what they decode to, for when decoding fails.
  store::Sha256 wire_, decoded_;
  std::optional<coding::Decoder> decoder_;
  std::string held_;  // for the rules
  bool decodes_ = true;
  bool holds_ = false;
  bool broken_ = false;
};

// [routes.grpc] of a route, compiled; null: none.
[[nodiscard]] const grpc::MessageRules* rules_of(const config::Route* route);

// The body part of a gRPC call's match key: its first message, because a stream must be answered before it ends. Zero:
// the client ended without a message.
[[nodiscard]] store::Digest first_message_digest(const store::KeyHasher& hasher,
                                                 const std::vector<store::Digest>& client);

// A call whose origin spoke before its client had said anything: it is found without a message, by a key of its own.
void mark_server_first(store::KeyBuilder& key);

// A call that ended inside its first message: refused as too long, or left by its client. How much of it came is
// chance; it is found by the length that was announced.
void mark_early(store::KeyBuilder& key, uint32_t announced);

// The same while a call is recorded.
class GrpcBody final : public CanonicalBody {
 public:
  GrpcBody(const http::RequestHead& head, const grpc::MessageRules* rules, const store::KeyHasher& hasher,
           Metrics& metrics)
      : digests_(head, rules, &metrics), hasher_(hasher) {}
  void update(std::string_view bytes) override {
    if (client_.empty()) digests_.feed(bytes, client_);
  }
  bool finish(store::KeyBuilder& key) override;

 private:
  MessageDigests digests_;
  std::vector<store::Digest> client_;
  const store::KeyHasher& hasher_;
};

}  // namespace tapdeck::modes

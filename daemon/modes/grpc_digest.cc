#include "daemon/modes/grpc_digest.h"

#include <algorithm>
#include <span>

#include "daemon/base/log.h"
#include "daemon/grpc/call.h"

namespace tapdeck::modes {
namespace {

// Told apart by a first byte: a message's own bytes, what rules chose, and bytes that did not decode.
constexpr std::string_view kPlain("\0", 1), kChosen("\1", 1), kWire("\2", 1);

// The names of the dimensions, as misses show it.
constexpr std::string_view kServerFirst = "grpc:server-first", kEarly = "grpc:early";

// Far beyond what a gRPC peer would take; a bomb is matched by its bytes.
constexpr coding::Bounds kBounds{.max_output = 64ULL << 20, .max_ratio = 1000, .free_output = 1ULL << 20};

}  // namespace

MessageDigests::MessageDigests(const http::RequestHead& head, const grpc::MessageRules* rules, Metrics* metrics)
    : method_(http::split_target(head.target).path),
      coding_(coding::parse_coding(grpc::message_encoding(head.headers))),
      rules_(rules),
      metrics_(metrics) {}

void MessageDigests::feed(std::string_view bytes, std::vector<store::Digest>& out) {
  while (!broken_) {
    const auto next = scanner_.next(bytes);
    if (!next) broken_ = true;
    if (!next || !*next) return;
    const grpc::MessagePiece& piece = **next;
    if (piece.begins) begin(piece);
    wire_.update(piece.bytes);
    if (decoder_) {
      const auto fed = decoder_->feed(piece.bytes, [this](std::string_view decoded) { plain(decoded); });
      decodes_ = decodes_ && fed;
    } else {
      plain(piece.bytes);
    }
    if (piece.ends) out.push_back(end());
  }
}

void MessageDigests::begin(const grpc::MessagePiece& piece) {
  if (!first_length_) first_length_ = piece.length;
  wire_ = {};
  decoded_ = {};
  decoder_.reset();
  held_.clear();
  holds_ = rules_ != nullptr;
  decodes_ = !piece.compressed || coding_;
  wire_.update(kWire);
  decoded_.update(kPlain);
  if (piece.compressed && coding_ && *coding_ != coding::Coding::Identity) {
    const coding::Coding codings[] = {*coding_};
    decoder_.emplace(std::span(codings), kBounds);
  }
}

void MessageDigests::plain(std::string_view bytes) {
  decoded_.update(bytes);
  if (!holds_) return;
  if (held_.size() + bytes.size() > kRuleBytes) {
    holds_ = false;
    fall_back("it is longer than 4 MiB");
    return;
  }
  held_ += bytes;
}

store::Digest MessageDigests::end() {
  const size_t index = index_++;
  if (!decodes_ || (decoder_ && !decoder_->finish())) {
    fall_back("it does not decompress");
    return wire_.finish();
  }
  if (!holds_) return decoded_.finish();
  std::string chosen(kChosen);
  if (rules_->append_canonical(method_, index, held_, chosen) == grpc::Decoded::Yes) {
    return store::content_digest(chosen);
  }
  fall_back("it is no message that the route's rules decode");
  return decoded_.finish();
}

void MessageDigests::fall_back(std::string_view why) {
  if (metrics_ == nullptr) return;
  metrics_->add(Counter::GrpcUndecoded);
  log::peer(log::Level::Warn, "grpc.undecoded", "a gRPC message is matched by its bytes",
            {{"method", method_}, {"reason", why}});
}

const grpc::MessageRules* rules_of(const config::Route* route) {
  return route != nullptr && route->grpc ? route->grpc->rules.get() : nullptr;
}

void mark_server_first(store::KeyBuilder& key) {
  key.dimension(kServerFirst, "");
}

void mark_early(store::KeyBuilder& key, uint32_t announced) {
  key.dimension(kEarly, std::to_string(announced));
}

bool GrpcBody::finish(store::KeyBuilder& key) {
  const auto& dimensions = key.parts().dimensions;
  if (std::ranges::find(dimensions, kServerFirst, &store::KeyDimension::name) != dimensions.end()) {
    key.canonical_body({});
    return true;
  }
  if (digests_.is_broken()) return false;
  if (client_.empty() && !digests_.is_between()) {
    if (!digests_.first_length()) return false;
    mark_early(key, *digests_.first_length());
    key.canonical_body({});
    return true;
  }
  key.canonical_body(first_message_digest(hasher_, client_));
  return true;
}

store::Digest first_message_digest(const store::KeyHasher& hasher, const std::vector<store::Digest>& client) {
  if (client.empty()) return {};
  const store::Digest& first = client.front();
  return hasher.of({reinterpret_cast<const char*>(first.data()), first.size()});
}

}  // namespace tapdeck::modes

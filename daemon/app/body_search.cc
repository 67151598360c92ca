#include "daemon/app/body_search.h"

#include <algorithm>
#include <optional>
#include <span>

#include "daemon/base/ascii.h"
#include "daemon/coding/decoder.h"
#include "daemon/grpc/call.h"
#include "daemon/grpc/message_scanner.h"

namespace tapdeck::app {
namespace {

// What bytes as stored are decoded to at most: of so many, and all of the codings in a body together.
uint64_t most_decoded(uint64_t stored) {
  const uint64_t bytes = std::max(stored * coding::Bounds{}.max_ratio, coding::Bounds{}.free_output);
  return std::min(bytes, kSearchedOfABody);
}

// The compressed messages in a body of gRPC; the others are found in the bytes as they are.
class MessageSearch {
 public:
  MessageSearch(const http::Headers& headers, std::string_view text, uint64_t most)
      : text_(text), left_(most), coding_(coding::parse_coding(grpc::message_encoding(headers))) {
    const bool is_grpc = grpc::is_grpc_content_type(headers.find("content-type").value_or(""));
    scans_ = is_grpc && coding_ && *coding_ != coding::Coding::Identity;
  }
  void feed(std::string_view bytes) {
    while (scans_ && !found_) {
      const auto piece = scanner_.next(bytes);
      scans_ = piece.has_value() && left_ > 0;
      if (!scans_ || !*piece) return;
      if ((*piece)->compressed) take(**piece);
    }
  }
  [[nodiscard]] bool found() const { return found_; }
  [[nodiscard]] uint64_t output_bytes() const { return output_; }

 private:
  void take(const grpc::MessagePiece& piece) {
    if (piece.begins) {
      finder_.emplace(text_);
      decoder_.emplace(std::span(&*coding_, 1), coding::Bounds{.max_output = left_});
    }
    if (!decoder_) return;
    const uint64_t before = decoder_->output_bytes();
    const bool decodes = decoder_->feed(piece.bytes, [&](std::string_view part) { finder_->feed(part); }).has_value();
    const uint64_t made = decoder_->output_bytes() - before;
    output_ += made;
    left_ -= std::min(left_, made);
    found_ = finder_->found();
    if (!decodes) decoder_.reset();
  }

  std::string_view text_;
  uint64_t left_;
  uint64_t output_ = 0;
  std::optional<coding::Coding> coding_;
  grpc::MessageScanner scanner_;
  std::optional<TextFinder> finder_;
  std::optional<coding::Decoder> decoder_;  // empty: between messages, or this one does not decode
  bool scans_ = false;
  bool found_ = false;
};

bool holds(const store::ExchangeStore& store, const store::BodyRef& body, const http::Headers& headers,
           std::string_view text, uint64_t& looked_at) {
  const auto codings = coding::codings_of(headers);
  TextFinder plain(text);
  TextFinder decoded(text);
  MessageSearch messages(headers, text, most_decoded(body.size));
  coding::Decoder decoder(codings ? std::span<const coding::Coding>(*codings) : std::span<const coding::Coding>(),
                          {.max_output = kSearchedOfABody});
  bool decodes = codings && !codings->empty();
  uint64_t taken = 0;
  auto read = store.read_body(body, [&](std::string_view bytes) {
    if (decodes) {
      decodes = decoder.feed(bytes, [&](std::string_view piece) { decoded.feed(piece); }).has_value();
    } else {
      messages.feed(bytes);
    }
    taken += bytes.size();
    return !plain.feed(bytes) && !decoded.found() && !messages.found() && taken < kSearchedOfABody;
  });
  looked_at += taken + decoder.output_bytes() + messages.output_bytes();
  return read && (plain.found() || decoded.found() || messages.found());
}

}  // namespace

TextFinder::TextFinder(std::string_view text) {
  text_ += lowered(text);
}

bool TextFinder::feed(std::string_view piece) {
  if (found_ || text_.empty()) return found_ = true;
  tail_ += lowered(piece);
  found_ = tail_.find(text_) != std::string::npos;
  if (tail_.size() >= text_.size()) tail_.erase(0, tail_.size() - (text_.size() - 1));
  return found_;
}

uint64_t most_looked_at(const store::Recording& recording) {
  uint64_t most = 0;
  for (const store::BodyRef* body : {&recording.request_body, &recording.response_body}) {
    const uint64_t taken = std::min(body->size, kSearchedOfABody);
    most += taken + most_decoded(taken);
  }
  return most;
}

bool body_holds(const store::ExchangeStore& store, const store::Recording& recording, std::string_view text,
                uint64_t& looked_at) {
  return holds(store, recording.response_body, recording.response.headers, text, looked_at) ||
         holds(store, recording.request_body, recording.request.headers, text, looked_at);
}

}  // namespace tapdeck::app

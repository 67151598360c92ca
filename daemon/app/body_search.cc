#include "daemon/app/body_search.h"

#include <algorithm>

#include "daemon/base/ascii.h"
#include "daemon/coding/decoder.h"

namespace tapdeck::app {
namespace {

bool holds(const store::ExchangeStore& store, const store::BodyRef& body, const http::Headers& headers,
           std::string_view text, uint64_t& looked_at) {
  const auto codings = coding::codings_of(headers);
  TextFinder plain(text);
  TextFinder decoded(text);
  coding::Decoder decoder(codings ? std::span<const coding::Coding>(*codings) : std::span<const coding::Coding>(),
                          {.max_output = kSearchedOfABody});
  bool decodes = codings && !codings->empty();
  uint64_t taken = 0;
  auto read = store.read_body(body, [&](std::string_view bytes) {
    if (decodes) decodes = decoder.feed(bytes, [&](std::string_view piece) { decoded.feed(piece); }).has_value();
    taken += bytes.size();
    return !plain.feed(bytes) && !decoded.found() && taken < kSearchedOfABody;
  });
  looked_at += taken + decoder.output_bytes();
  return read && (plain.found() || decoded.found());
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
    most +=
        taken + std::min(std::max(taken * coding::Bounds{}.max_ratio, coding::Bounds{}.free_output), kSearchedOfABody);
  }
  return most;
}

bool body_holds(const store::ExchangeStore& store, const store::Recording& recording, std::string_view text,
                uint64_t& looked_at) {
  return holds(store, recording.response_body, recording.response.headers, text, looked_at) ||
         holds(store, recording.request_body, recording.request.headers, text, looked_at);
}

}  // namespace tapdeck::app

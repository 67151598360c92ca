// Searching the bodies of recordings for a text, through their content codings and those of gRPC messages. For
// `recording search body:TEXT`.
//
// Reads bodies from the store, which takes long: for the control plane, never for a worker. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "store/exchange_store.h"

namespace tapdeck::app {

// What is looked at of one body, as stored and once more decoded: as much as the API sends of one, and the bound of a
// search that comes to a body without end.
constexpr uint64_t kSearchedOfABody = 64ULL << 20;

// A text that is looked for in bytes that come in pieces; ASCII letters match in any case.
class TextFinder {
 public:
  explicit TextFinder(std::string_view text);
  // Takes the next piece; true once the text was there, also across pieces.
  bool feed(std::string_view piece);
  [[nodiscard]] bool found() const { return found_; }

 private:
  std::string text_;  // lower case
  std::string tail_;  // the end of what was fed, shorter than the text
  bool found_ = false;
};

// The most that body_holds() may look at of this recording, in bytes.
[[nodiscard]] uint64_t most_looked_at(const store::Recording& recording);

// The request or the response body holds `text`, in its first kSearchedOfABody, once its codings are off, or of a gRPC
// call those of its messages; a body, or a message, that does not decode is searched as it is. Unreadable bodies hold
// nothing. Adds to `looked_at` how many bytes it read and decoded.
[[nodiscard]] bool body_holds(const store::ExchangeStore& store, const store::Recording& recording,
                              std::string_view text, uint64_t& looked_at);

}  // namespace tapdeck::app

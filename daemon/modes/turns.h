// Exchanges in which client and origin spoke in turns, as they lie on tape: the answer had begun, and the client said
// more. (gRPC has GrpcScript for that.)
//
// Only reads recordings; the last two functions read the store, for the reader pool. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/modes/replay_item.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// What a client has said of its body.
struct Said {
  uint64_t bytes = 0;
  bool ended = false;
};
// What had come by then. The end is known where it came behind the begin of the answer.
[[nodiscard]] Said said_by(const store::Recording& recording, uint64_t microseconds);
// The same for moments that only grow, of one recording: each piece is looked at once.
class SaidSoFar {
 public:
  const Said& by(const store::Recording& recording, uint64_t microseconds);

 private:
  Said said_;
  size_t next_ = 0;  // in the request's timeline, behind said_
};
// When the final head came.
[[nodiscard]] uint64_t moment_of_head(const store::Recording& recording);

// The client went on with its request when the head was there, and the origin with its answer behind that.
[[nodiscard]] bool took_turns(const store::Recording& recording);
// The same where the answer may have gone on, its length not being announced, and where the client may have waited for
// its head alone. An upload that is only refused before its end is not meant.
[[nodiscard]] bool may_have_taken_turns(const store::Recording& recording);

// What the client was sent. Status 0: nothing.
struct Sent {
  int status = 0;
  std::string length, coding;  // Content-Length and Content-Encoding
  uint64_t bytes = 0;
  store::Digest digest{};  // keyed
};
[[nodiscard]] std::string value_of(const http::ResponseHead& head, std::string_view field);  // empty: it has none
// How far an exchange has come.
struct Progress {
  store::KeyParts said;  // redacted; with the digest of the body so far
  bool ended = false;    // it is all of the body
  Sent sent;
};
// `recording` may be how it goes on.
[[nodiscard]] bool goes_on_from(const store::ExchangeStore& store, const store::Recording& recording,
                                const store::KeyHasher& hasher, const Progress& progress);

// The recordings that may be how it goes on, by key.
struct Beginnings {
  std::vector<store::Key> in_turns;  // what answers in the middle of the body
  bool others = false;               // what answers the whole body only
};
[[nodiscard]] Beginnings that_begin_so(const store::ExchangeStore& store, std::string_view session,
                                       const store::KeyHasher& hasher, const Progress& progress, Answers answers);

}  // namespace tapdeck::modes

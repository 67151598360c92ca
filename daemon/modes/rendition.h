// Rendition: how a recorded response answers a request that asks for it in another way: HEAD for a recorded GET, a
// condition that holds or fails, a range, a client that does not take the recorded content coding. docs/REPLAY.md says
// it for users.
//
// Only decides; sending is rendition_send.h. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/coding/coding.h"
#include "daemon/http/message.h"
#include "store/record.h"

namespace tapdeck::modes {

struct Rendition {
  enum class Body {
    AsRecorded,  // the head differs at most
    Nothing,     // 304, 412, 416
    Range,       // 206: `length` bytes from `first` of the recorded body
    Recoded,     // `decode` taken off, `encode` put on
  };
  Body body = Body::AsRecorded;
  http::ResponseHead head;
  uint64_t first = 0;
  uint64_t length = 0;
  std::vector<coding::Coding> decode;
  coding::Coding encode = coding::Coding::Identity;
  http::Headers trailers;  // of a Recoded body
};

// nullopt: the recording answers as it is, which is so for all but complete 200s of GET (conditions, ranges) and for
// bodies whose coding the client takes or that we cannot read.
[[nodiscard]] std::optional<Rendition> render(const http::RequestHead& request, const store::Recording& recording);

// Nothing in the request asks for more than the recording as it is. Cheap; for the hot path. False says nothing.
[[nodiscard]] bool plays_as_recorded(const http::RequestHead& request, const store::Recording& recording);

// The conditions and the range of a request in one canonical text; empty when it has none. A 304, 206, 412 or 416 that
// they caused answers nothing but a request with the same: it is recorded under a key with this dimension.
inline constexpr std::string_view kConditionDimension = "condition";
[[nodiscard]] std::string condition_of(const http::RequestHead& request);
[[nodiscard]] bool answers_a_condition(int status);

// Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 5.6.7).
[[nodiscard]] std::optional<int64_t> parse_http_date(std::string_view text);

}  // namespace tapdeck::modes

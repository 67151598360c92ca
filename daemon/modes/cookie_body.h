// A request body that repeats a cookie of its own request, as forms against cross-site requests do (a "double submit").
//
// A replay gives clients placeholders for the values of cookies (store/redact.h), so that such a body is another than
// the recorded one. It is compared with the cookie's name in place of the value: the recorded request has the value in
// its Cookie field and its body, the replayed one in both the placeholder. The placeholder itself would not do: it
// depends on a secret of the store, which an exported session leaves behind. Pure. Thread: any.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "daemon/http/message.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// A shorter value may be in a body by chance.
inline constexpr size_t kShortestCookie = 16;

// What is compared, of a whole body and the fields of its request; nullopt: no cookie is in the body, and it stays as
// it is. Of the values that are long enough the first eight are looked for, of placeholders more.
[[nodiscard]] std::optional<store::Digest> digest_without_cookies(std::string_view body, const http::Headers& fields,
                                                                  const store::KeyHasher& hasher);

}  // namespace tapdeck::modes

// What tells two request bodies apart, for the explanation of a miss: the JSON values, the form fields, the multipart
// boundary, or else the first bytes. Compared is what the match key compares: the bodies without their content codings.
//
// Bounded: at most kSeenBody bytes of either are decoded or looked at, at most five differences are told. What is shown
// has passed the Redactor: values by the names that they stand under, and URLs in them; bytes, of which nobody knows
// whose value they are, are "<not shown>" where such a name stands before or near them. Sans-IO. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/message.h"
#include "store/match_key.h"
#include "store/redact.h"

namespace tapdeck::modes {

inline constexpr size_t kSeenBody = 64 << 10;
// In place of a value that one side does not have.
inline constexpr std::string_view kAbsentInBody = "<absent>";

// The beginning of a body as far as it is looked at.
struct SeenBody {
  std::string text;       // decoded, at most kSeenBody bytes; as it was sent where it does not decode
  bool is_whole = false;  // nothing comes behind it
  bool is_form = false;   // application/x-www-form-urlencoded
  std::string boundary;   // multipart; else empty
};
// `fields` of the request, `begin` the first bytes of the `size` that were sent.
[[nodiscard]] SeenBody see_body(const http::Headers& fields, std::string_view begin, uint64_t size);

// `where` is "body $.user.id" (its values as JSON, "{...}" and "[...]" for what is not a scalar), "body field NAME",
// "body multipart boundary", "body at byte 17", with " (the same values)" behind it where only the spelling differs, or
// "body beyond byte 65536". Values are cut short (excerpt.h); "<absent>". Empty: nothing differs.
[[nodiscard]] std::vector<store::Difference> body_differences(const SeenBody& recorded, const SeenBody& requested,
                                                              const store::Redactor& redactor);

}  // namespace tapdeck::modes

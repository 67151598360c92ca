// What to do about an error, for those whose detail does not say it. Thread: any. Pure.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/result.h"

namespace tapdeck::app {

// By code and errno: never empty, and general where no more is known. `next` of errors as JSON.
[[nodiscard]] std::string_view next_step(const Error& error);

// The message for people; behind it "; what to do" when it does not end in that already and we know more than a
// generality.
[[nodiscard]] std::string with_next_step(const Error& error);

}  // namespace tapdeck::app

// Which commit this was built from. Thread: any; a constant.
#pragma once

#include <string_view>

namespace tapdeck {

// As `git describe` names it, with "-dirty" where files had been changed; "unknown": not built in a clone.
[[nodiscard]] std::string_view revision();

}  // namespace tapdeck

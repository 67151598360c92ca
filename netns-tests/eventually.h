// How the lab waits: eventually() of daemon/base, and the literals that say how long.
#pragma once

#include <chrono>

#include "daemon/base/eventually.h"

namespace tapdeck::lab {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

}  // namespace tapdeck::lab

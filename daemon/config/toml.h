// toml++ as we use it: its parser is compiled once, in toml.cc, which takes as long as all that uses it.
#pragma once

#define TOML_HEADER_ONLY 0
#define TOML_EXCEPTIONS 0
// What the parser asserts of a table header is not so for `[$x]` (toml++ 3.3). Left alone it goes on, and says where a
// key should have begun; load_fuzz keeps an eye on the rest.
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

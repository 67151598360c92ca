// The functions of toml++.
#define TOML_IMPLEMENTATION
#include "daemon/config/toml.h"

// Compiling [routes.grpc] of every route, when the configuration is read: proto files are read now or never. Thread:
// any.
#pragma once

#include "daemon/base/result.h"
#include "daemon/config/config.h"

namespace tapdeck::app {

// Fills in config::Grpc::rules. InvalidConfig names the route, and file, line and column of what is wrong.
[[nodiscard]] Result<void> compile_grpc_rules(config::Config& config);

}  // namespace tapdeck::app

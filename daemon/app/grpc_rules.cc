#include "daemon/app/grpc_rules.h"

#include "daemon/grpc/message_rules.h"

namespace tapdeck::app {

Result<void> compile_grpc_rules(config::Config& config) {
  for (config::Route& route : config.routes) {
    if (!route.grpc || (route.grpc->proto_files.empty() && route.grpc->match_fields.empty())) continue;
    auto rules = grpc::MessageRules::make(route.grpc->proto_files, route.grpc->match_fields);
    if (!rules) {
      return fail(Code::InvalidConfig,
                  config.source.string() + ": [routes.grpc] of route '" + route.name + "': " + rules.error().detail);
    }
    route.grpc->rules = std::move(*rules);
  }
  return {};
}

}  // namespace tapdeck::app

#include "daemon/server/flow_facts.h"

#include <utility>
#include <vector>

#include "daemon/modes/origin.h"
#include "daemon/modes/select.h"

namespace tapdeck::server {

FlowFacts::FlowFacts(WorkerContext& worker_context, exchange::CapturedFlow captured)
    : client_(worker_context.pool), worker(worker_context), flow(std::move(captured)) {
  flow.connection = client_.id();
}

const modes::TargetState& FlowFacts::target() const {
  return worker.view.get().targets[flow.identity.target];
}

const config::Route* FlowFacts::route() const {
  if (worker.routes.empty()) return nullptr;
  return modes::connection_route(worker.routes, secure ? config::Scheme::Https : config::Scheme::Http, host(),
                                 flow.destination.port, target().name);
}

bool FlowFacts::is_sealed() const {
  const config::Route* found = route();
  const Mode mode = found != nullptr && found->mode ? *found->mode : target().mode;
  return mode == Mode::Replay;
}

bool FlowFacts::may_answer_from_tape() const {
  return modes::may_answer_from_tape(target().mode, worker.routes);
}

bool FlowFacts::is_bypassed(std::string_view host) const {
  return target().bypass.match(host, flow.destination) || worker.bypass.match(host, flow.destination);
}

std::string FlowFacts::asked_host() const {
  return flow.route != nullptr ? flow.route->host : flow.destination.ip();
}

std::string FlowFacts::host() const {
  return tls.sni.empty() ? asked_host() : tls.sni;
}

upstream::Key FlowFacts::key(upstream::Security security) const {
  upstream::Key key;
  key.netns_cookie = flow.identity.netns_cookie;
  key.address = flow.destination;
  key.security = security;
  key.target = flow.identity.target;
  key.tenant = flow.identity.tenant;
  if (security == upstream::Security::Tls) {
    key.server_name = tls.sni;
    key.alpn = tls.upstream_offer;
  }
  modes::follow_route(key, flow);
  return key;
}

store::Place FlowFacts::place() const {
  return {secure ? "https" : "http", host(), flow.destination.port, flow.destination};
}

std::optional<store::Take> FlowFacts::open_take() const {
  const modes::TargetState& state = target();
  const bool is_ours = flow.identity.tenant == state.tenant;
  const bool has_take = state.tape != nullptr && state.tape->take.number > 0;
  if (!is_ours || !has_take || worker.link == nullptr) return std::nullopt;
  return modes::may_record(state.mode, worker.routes) ? std::optional(state.tape->take) : std::nullopt;
}

void FlowFacts::record(store::PendingWrite write) const {
  std::vector<store::PendingWrite> writes;
  writes.push_back(std::move(write));
  worker.link->add(writes);
}

}  // namespace tapdeck::server

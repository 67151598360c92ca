#include "daemon/modes/record_provenance.h"

#include <chrono>
#include <optional>

namespace tapdeck::modes {

namespace {

uint64_t microseconds(const std::optional<exchange::Clock::duration>& duration) {
  if (!duration) return 0;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(*duration).count());
}

// Where the tape spared the dial before the client's handshake, the first miss has made it.
void fill_late_handshake(store::Provenance& to, exchange::Exchange& exchange) {
  const auto& seen = exchange.facts().upstream_tls_facts;
  if (!seen || !exchange.tls().upstream_verify.empty()) return;
  to.upstream_alpn = seen->alpn;
  to.peer_certificate_sha256 = seen->certificate;
  if (seen->verify != "ok") to.upstream_verify_failure = seen->verify;
}

void fill_timings(store::Timings& to, const exchange::Facts& facts) {
  to.connect = microseconds(facts.upstream_connect);
  to.tls = microseconds(facts.upstream_tls);
  to.first_byte = microseconds(facts.upstream_first_byte);
  to.head = microseconds(facts.upstream_head);
  to.total = microseconds(exchange::Clock::now() - facts.began);
}

}  // namespace

void fill_provenance(store::Provenance& to, exchange::Exchange& exchange, const TargetState& target,
                     std::string_view route) {
  const exchange::CapturedFlow& flow = exchange.flow();
  const exchange::TlsFacts& tls = exchange.tls();
  to.target = target.name;
  to.cgroup_id = flow.identity.cgroup_id;
  to.netns_cookie = flow.identity.netns_cookie;
  to.pid = flow.identity.pid;
  to.uid = flow.identity.uid;
  to.comm = flow.identity.comm;
  to.client = flow.client;
  to.original_destination = flow.destination;
  to.capture_path = to_string(flow.path);
  to.sni = tls.sni;
  to.alpn = tls.alpn;
  to.tls_version = tls.version;
  to.upstream_alpn = tls.upstream_alpn;
  to.peer_certificate_sha256 = tls.upstream_certificate;
  if (tls.upstream_verify != "ok") to.upstream_verify_failure = tls.upstream_verify;
  to.route = route;
}

void complete_provenance(store::Provenance& to, exchange::Exchange& exchange) {
  fill_timings(to.timings, exchange.facts());
  fill_late_handshake(to, exchange);
}

}  // namespace tapdeck::modes

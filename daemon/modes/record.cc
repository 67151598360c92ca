#include "daemon/modes/record.h"

#include <utility>

#include "daemon/base/log.h"
#include "daemon/exchange/error_response.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/body_key.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/recording_exchange.h"

namespace tapdeck::modes {

using exchange::Exchange;
using Kind = store::Outcome::Kind;

namespace {

uint64_t microseconds(const std::optional<exchange::Clock::duration>& duration) {
  if (!duration) return 0;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(*duration).count());
}

void fill_provenance(store::Provenance& to, Exchange& exchange, const TargetState& target, std::string_view route) {
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

// Known only when the exchange is over.
void fill_timings(store::Timings& to, const exchange::Facts& facts) {
  to.connect = microseconds(facts.upstream_connect);
  to.tls = microseconds(facts.upstream_tls);
  to.first_byte = microseconds(facts.upstream_first_byte);
  to.total = microseconds(exchange::Clock::now() - facts.began);
}

// How a response that has begun and failed ended on the wire.
store::Outcome outcome_of(const Error& error, uint64_t body_bytes) {
  const bool upstream = error.origin == Origin::Upstream;
  if (upstream && error.code == Code::Truncated)
    return {Kind::Truncated, body_bytes, std::string(exchange::name_of(error))};
  if (upstream && error.code == Code::Reset) return {Kind::Reset, body_bytes, std::string(exchange::name_of(error))};
  return {Kind::Incomplete, body_bytes, std::string(exchange::name_of(error))};
}

}  // namespace

net::Task<Result<void>> RecordHandler::serve(Exchange& exchange, const TargetState& target, const config::Route* route,
                                             std::string_view route_name) {
  const Tape* tape = target.tape.get();
  std::string storage;
  const OriginName origin = origin_of(exchange, storage);
  const store::BuilderContext builder_context{tape->hasher, *context_.redactor, tape->take};
  store::RecordingBuilder builder(builder_context, context_.store->allocate_id(), exchange.facts().began_unix_us,
                                  origin.scheme, origin.host, origin.port, exchange.request());
  if (!origin.authority.empty()) builder.key_builder().dimension("authority", origin.authority);
  fill_provenance(builder.provenance(), exchange, target, route_name);
  BodyKey body_key(route, exchange.request(), tape->hasher, *context_.metrics);
  RecordingExchange recording(exchange, builder, body_key, *context_.link);
  GrpcTee grpc_tee(builder, *context_.metrics);
  const bool is_call = grpc::is_call(exchange.request());
  if (is_call) recording.index_messages(grpc_tee);

  auto served = co_await inner_.serve(recording);
  exchange::Facts& facts = exchange.facts();
  fill_timings(builder.provenance().timings, facts);
  body_key.finish(builder.key_builder());  // a body that was not read to its end
  std::vector<store::PendingWrite> writes;
  if (recording.became_tunnel()) {
    facts.outcome = Outcome::Forwarded;
    co_return served;
  }
  if (!served) {
    if (recording.is_held()) {
      auto told = co_await recording.release();  // our own error answer: sent, never recorded
      ignore(told, "the failure that led here is what counts");
      co_return served;
    }
    // A gRPC client that leaves before any answer has cancelled its call or reached its deadline, which replay repeats.
    const bool left = is_call && served.error().origin != Origin::Upstream;
    if (exchange.response_started() || left) {
      builder.finish(outcome_of(served.error(), facts.response_bytes));
      builder.take_writes(writes);
      context_.link->add(writes);
      context_.metrics->add(Counter::RecordingIncomplete);
    }
    co_return served;
  }
  builder.finish({Kind::Complete, 0, {}});
  const auto& redactions = builder.redactions();
  if (redactions.uri > 0) context_.metrics->add(Counter::RedactedUri, redactions.uri);
  if (redactions.headers + redactions.trailers > 0) {
    context_.metrics->add(Counter::RedactedHeader, redactions.headers + redactions.trailers);
  }
  builder.take_writes(writes);
  auto committed = co_await context_.link->commit(writes);
  if (committed) {
    facts.outcome = Outcome::Recorded;
    facts.recording = builder.id();
    context_.metrics->add(Counter::RecordingComplete);
  } else {
    facts.outcome = Outcome::Forwarded;
    context_.metrics->add(Counter::RecordingDropped);
    log::peer(log::Level::Error, "recording.lost", "a response went out whose recording is not safe",
              {{"recording", builder.id()}, {"reason", committed.error().message()}});
    if (target.strict == Strict::Yes) {
      exchange.reset(http::ResetCode::InternalError);
      facts.outcome = Outcome::Failed;
      co_return committed;
    }
  }
  co_return co_await recording.release();
}

}  // namespace tapdeck::modes

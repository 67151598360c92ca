#include "daemon/base/metrics_table.h"

namespace tapdeck {
namespace {

using enum Counter;

constexpr MetricRow<Counter> kCounters[] = {
    {UncapturedPreExisting,
     "tapdeck_flows_uncaptured_total",
     "Flows of a target that passed or were refused without being captured; left_cgroup: processes that left its "
     "cgroup.",
     {{{"reason", "pre_existing"}}}},
    {UncapturedUdp, "tapdeck_flows_uncaptured_total", "", {{{"reason", "udp"}}}},
    {UncapturedQuic, "tapdeck_flows_uncaptured_total", "", {{{"reason", "quic"}}}},
    {UncapturedRaw, "tapdeck_flows_uncaptured_total", "", {{{"reason", "raw"}}}},
    {UncapturedMapFull, "tapdeck_flows_uncaptured_total", "", {{{"reason", "map_full"}}}},
    {UncapturedLease, "tapdeck_flows_uncaptured_total", "", {{{"reason", "lease"}}}},
    {UncapturedBypass, "tapdeck_flows_uncaptured_total", "", {{{"reason", "bypass"}}}},
    {UncapturedBoundDevice, "tapdeck_flows_uncaptured_total", "", {{{"reason", "bound_device"}}}},
    {UncapturedNoListener, "tapdeck_flows_uncaptured_total", "", {{{"reason", "no_listener"}}}},
    {UncapturedFamily, "tapdeck_flows_uncaptured_total", "", {{{"reason", "family"}}}},
    {UncapturedLeftCgroup, "tapdeck_flows_uncaptured_total", "", {{{"reason", "left_cgroup"}}}},
    {TargetGaps, "tapdeck_target_gaps_total",
     "Times that a target ran before it was attached, or that somebody undid that."},
    {TargetGapMilliseconds,
     "tapdeck_target_gap_seconds_total",
     "How long that was together; what ran meanwhile was not captured.",
     {},
     0.001},
    {SealedRefusedTcp,
     "tapdeck_sealed_refusals_total",
     "Attempts of sealed targets to reach the network around the recording.",
     {{{"kind", "tcp"}}}},
    {SealedRefusedUdp, "tapdeck_sealed_refusals_total", "", {{{"kind", "udp"}}}},
    {SealedRefusedDns, "tapdeck_sealed_refusals_total", "", {{{"kind", "dns"}}}},
    {SealedRefusedOther, "tapdeck_sealed_refusals_total", "", {{{"kind", "other"}}}},
    {MissNoKey,
     "tapdeck_misses_total",
     "Requests that no recording answers, nor an origin that was asked instead, by reason.",
     {{{"reason", "no_key"}}}},
    {MissBody, "tapdeck_misses_total", "", {{{"reason", "body"}}}},
    {MissExhausted, "tapdeck_misses_total", "", {{{"reason", "exhausted"}}}},
    {MissWebSocket, "tapdeck_misses_total", "", {{{"reason", "websocket"}}}},
    {MissOpaque, "tapdeck_misses_total", "", {{{"reason", "opaque"}}}},
    {MissOrigin, "tapdeck_misses_total", "", {{{"reason", "origin"}}}},
    {MissName, "tapdeck_misses_total", "", {{{"reason", "dns"}}}},
    {NoFlowRefused, "tapdeck_no_flow_refused_total",
     "Accepted connections without a known flow; refused, never forwarded."},
    {KernelEventsLost, "tapdeck_kernel_events_lost_total",
     "What the kernel programs had to tell and found no room for: namespaces that need listeners, refusals, "
     "departures."},
    {NamesObserved,
     "tapdeck_names_total",
     "Names that targets asked for over DNS, by what became of the question: its end was seen in passing, an answer or "
     "that none came; answered from tape; asked of the resolver by tapdeck; lost: what became of it is not on tape.",
     {{{"result", "observed"}}}},
    {NamesReplayed, "tapdeck_names_total", "", {{{"result", "replayed"}}}},
    {NamesForwarded, "tapdeck_names_total", "", {{{"result", "forwarded"}}}},
    {NamesLost, "tapdeck_names_total", "", {{{"result", "lost"}}}},
    {ProxyRefusedClient,
     "tapdeck_proxy_refused_total",
     "What the explicit listener refused: clients outside proxy.allow, our own addresses as destination, requests "
     "without a destination or route.",
     {{{"reason", "client"}}}},
    {ProxyRefusedOwnAddress, "tapdeck_proxy_refused_total", "", {{{"reason", "own_address"}}}},
    {ProxyNoRoute, "tapdeck_proxy_refused_total", "", {{{"reason", "no_route"}}}},
    {LeaseExpiredOpen,
     "tapdeck_lease_expired_total",
     "Flows that the kernel programs saw after the daemon's lease ran out.",
     {{{"policy", "open"}}}},
    {LeaseExpiredClosed, "tapdeck_lease_expired_total", "", {{{"policy", "closed"}}}},
    {ReplayRefusedConnect,
     "tapdeck_replayed_refusals_total",
     "Connections refused in replay because their origin refused when it was recorded.",
     {{{"by", "connect"}}}},
    {ReplayRefusedReset, "tapdeck_replayed_refusals_total", "", {{{"by", "reset"}}}},
    {TunnelledBypass,
     "tapdeck_tunnelled_total",
     "Connections handed through as bytes, by reason.",
     {{{"reason", "bypass"}}}},
    {TunnelledNotTls, "tapdeck_tunnelled_total", "", {{{"reason", "not_tls"}}}},
    {TunnelledNotHttp, "tapdeck_tunnelled_total", "", {{{"reason", "not_http"}}}},
    {TunnelledAlpn, "tapdeck_tunnelled_total", "", {{{"reason", "alpn"}}}},
    {TunnelledClientCert, "tapdeck_tunnelled_total", "", {{{"reason", "client_cert"}}}},
    {TunnelledServerFirst, "tapdeck_tunnelled_total", "", {{{"reason", "server_first"}}}},
    {TunnelledUpgrade, "tapdeck_tunnelled_total", "", {{{"reason", "upgrade"}}}},
    {TunnelledConnect, "tapdeck_tunnelled_total", "", {{{"reason", "connect"}}}},
    {TunnelledBytesUp,
     "tapdeck_tunnelled_bytes_total",
     "Bytes of tunnelled connections; up is from the client.",
     {{{"direction", "up"}}}},
    {TunnelledBytesDown, "tapdeck_tunnelled_bytes_total", "", {{{"direction", "down"}}}},
    {TunnelsFailed, "tapdeck_tunnels_failed_total",
     "Connections to be handed through as bytes whose origin could not be reached."},
    {BytesUp,
     "tapdeck_bytes_total",
     "Body bytes of HTTP exchanges as on the client's side, those of WebSockets too, without heads and tunnels; up is "
     "from the client.",
     {{{"direction", "up"}}}},
    {BytesDown, "tapdeck_bytes_total", "", {{{"direction", "down"}}}},
    {TlsDownOk,
     "tapdeck_tls_handshakes_total",
     "TLS handshakes by side and result.",
     {{{"side", "downstream"}, {"result", "ok"}}}},
    {TlsDownResumed, "tapdeck_tls_handshakes_total", "", {{{"side", "downstream"}, {"result", "resumed"}}}},
    {TlsDownRejectedCa,
     "tapdeck_tls_handshakes_total",
     "",
     {{{"side", "downstream"}, {"result", "client_rejected_ca"}}}},
    {TlsDownLeft,
     "tapdeck_tls_handshakes_total",
     "",
     {{{"side", "downstream"}, {"result", "client_left_at_certificate"}}}},
    {TlsDownNoAgreement, "tapdeck_tls_handshakes_total", "", {{{"side", "downstream"}, {"result", "no_agreement"}}}},
    {TlsDownError, "tapdeck_tls_handshakes_total", "", {{{"side", "downstream"}, {"result", "error"}}}},
    {TlsUpOk, "tapdeck_tls_handshakes_total", "", {{{"side", "upstream"}, {"result", "ok"}}}},
    {TlsUpResumed, "tapdeck_tls_handshakes_total", "", {{{"side", "upstream"}, {"result", "resumed"}}}},
    {TlsUpInvalid, "tapdeck_tls_handshakes_total", "", {{{"side", "upstream"}, {"result", "upstream_invalid"}}}},
    {TlsUpError, "tapdeck_tls_handshakes_total", "", {{{"side", "upstream"}, {"result", "error"}}}},
    {LeafCacheHit,
     "tapdeck_tls_leaf_cache_requests_total",
     "Look-ups of minted leaf certificates.",
     {{{"result", "hit"}}}},
    {LeafCacheMiss, "tapdeck_tls_leaf_cache_requests_total", "", {{{"result", "miss"}}}},
    {SmugglingRefused, "tapdeck_smuggling_refused_total",
     "HTTP/1 requests whose framing could be read in two ways: refused (400) and closed; nothing behind that is "
     "forwarded."},
    {UnknownMethod, "tapdeck_unknown_method_total", "Requests with a method that is not known: answered 501."},
    {BadRequest, "tapdeck_bad_requests_total",
     "First lines that are not HTTP at all: closed without an answer; at proxy.listen reset, TLS too."},
    {H2RapidReset,
     "tapdeck_h2_abuse_total",
     "HTTP/2 peers that did too much of something cheap, by kind; hpack and header_count: heads of four times the "
     "limit.",
     {{{"kind", "rapid_reset"}}}},
    {H2ServerReset, "tapdeck_h2_abuse_total", "", {{{"kind", "server_reset"}}}},
    {H2ContinuationFlood, "tapdeck_h2_abuse_total", "", {{{"kind", "continuation_flood"}}}},
    {H2SettingsFlood, "tapdeck_h2_abuse_total", "", {{{"kind", "settings_flood"}}}},
    {H2PingFlood, "tapdeck_h2_abuse_total", "", {{{"kind", "ping_flood"}}}},
    {H2PriorityFlood, "tapdeck_h2_abuse_total", "", {{{"kind", "priority_flood"}}}},
    {H2Hpack, "tapdeck_h2_abuse_total", "", {{{"kind", "hpack"}}}},
    {H2EmptyFrames, "tapdeck_h2_abuse_total", "", {{{"kind", "empty_frames"}}}},
    {H2WindowGames, "tapdeck_h2_abuse_total", "", {{{"kind", "window_games"}}}},
    {H2HeaderCount, "tapdeck_h2_abuse_total", "", {{{"kind", "header_count"}}}},
    {LimitHeadBytes,
     "tapdeck_limit_hits_total",
     "How often a configured or system limit was reached.",
     {{{"limit", "head_bytes"}}}},
    {LimitHeaderCount, "tapdeck_limit_hits_total", "", {{{"limit", "header_count"}}}},
    {LimitBodyBuffer, "tapdeck_limit_hits_total", "", {{{"limit", "body_buffer"}}}},
    {LimitMaxBody, "tapdeck_limit_hits_total", "", {{{"limit", "max_body"}}}},
    {LimitIdleTimeout, "tapdeck_limit_hits_total", "", {{{"limit", "idle_timeout"}}}},
    {LimitHeaderTimeout, "tapdeck_limit_hits_total", "", {{{"limit", "header_timeout"}}}},
    {LimitRequestTimeout, "tapdeck_limit_hits_total", "", {{{"limit", "request_timeout"}}}},
    {LimitConnections, "tapdeck_limit_hits_total", "", {{{"limit", "connections"}}}},
    {LimitTlsTimeout, "tapdeck_limit_hits_total", "", {{{"limit", "tls_timeout"}}}},
    {LimitDescriptors, "tapdeck_limit_hits_total", "", {{{"limit", "descriptors"}}}},
    {PortsExhausted, "tapdeck_limit_hits_total", "", {{{"limit", "upstream_ports"}}}},
    {UpstreamRefused,
     "tapdeck_upstream_errors_total",
     "Failed upstream connections and exchanges by kind.",
     {{{"kind", "refused"}}}},
    {UpstreamTimeout, "tapdeck_upstream_errors_total", "", {{{"kind", "timeout"}}}},
    {UpstreamReset, "tapdeck_upstream_errors_total", "", {{{"kind", "reset"}}}},
    {UpstreamTls, "tapdeck_upstream_errors_total", "", {{{"kind", "tls"}}}},
    {UpstreamDns, "tapdeck_upstream_errors_total", "", {{{"kind", "dns"}}}},
    {UpstreamTruncated, "tapdeck_upstream_errors_total", "", {{{"kind", "truncated"}}}},
    {UpstreamUnreachable, "tapdeck_upstream_errors_total", "", {{{"kind", "unreachable"}}}},
    {UpstreamProtocol, "tapdeck_upstream_errors_total", "", {{{"kind", "protocol"}}}},
    {UpstreamDialed,
     "tapdeck_upstream_connections_total",
     "Connections made to origins, and how often one was used again.",
     {{{"kind", "dialed"}}}},
    {UpstreamReused, "tapdeck_upstream_connections_total", "", {{{"kind", "reused"}}}},
    {BodyKeyRaw, "tapdeck_match_body_raw_total",
     "Request bodies matched by their wire bytes because their content coding could not be undone within bounds."},
    {HotCacheHit,
     "tapdeck_replay_cache_requests_total",
     "Replay look-ups in a worker's own cache.",
     {{{"result", "hit"}}}},
    {HotCacheMiss, "tapdeck_replay_cache_requests_total", "", {{{"result", "miss"}}}},
    {GrpcMessagesUp,
     "tapdeck_grpc_messages_total",
     "gRPC messages recorded; up is from the client.",
     {{{"direction", "up"}}}},
    {GrpcMessagesDown, "tapdeck_grpc_messages_total", "", {{{"direction", "down"}}}},
    {GrpcMalformed,
     "tapdeck_grpc_errors_total",
     "gRPC bodies and messages that could not be read.",
     {{{"reason", "malformed"}}}},
    {GrpcUndecoded, "tapdeck_grpc_errors_total", "", {{{"reason", "undecoded"}}}},
    {RecordingComplete,
     "tapdeck_recordings_total",
     "Recordings by how they ended; dropped: lost, or not safe when the response left.",
     {{{"result", "complete"}}}},
    {RecordingFailed, "tapdeck_recordings_total", "", {{{"result", "failed"}}}},
    {RecordingIncomplete, "tapdeck_recordings_total", "", {{{"result", "incomplete"}}}},
    {RecordingDropped, "tapdeck_recordings_total", "", {{{"result", "dropped"}}}},
    {IncompleteStoreSlow,
     "tapdeck_recordings_incomplete_total",
     "Recordings that were lost, late or cut, by reason.",
     {{{"reason", "store_slow"}}}},
    {IncompleteStoreError, "tapdeck_recordings_incomplete_total", "", {{{"reason", "store_error"}}}},
    {IncompleteSessionDeleted, "tapdeck_recordings_incomplete_total", "", {{{"reason", "session_deleted"}}}},
    {IncompleteCrash, "tapdeck_recordings_incomplete_total", "", {{{"reason", "crash"}}}},
    {IncompleteLimit, "tapdeck_recordings_incomplete_total", "", {{{"reason", "limit"}}}},
    {IncompleteProtocol, "tapdeck_recordings_incomplete_total", "", {{{"reason", "protocol"}}}},
    {WebSocketUp,
     "tapdeck_websocket_messages_total",
     "WebSocket messages recorded and replayed, control frames too; up is from the client.",
     {{{"direction", "up"}}}},
    {WebSocketDown, "tapdeck_websocket_messages_total", "", {{{"direction", "down"}}}},
    {StoreHoldExceeded, "tapdeck_store_hold_exceeded_total",
     "How often storage.hold_limit passed before a recording was safe: the response went on, or was reset (strict)."},
    {StoreErrorWrite, "tapdeck_store_errors_total", "Failed operations of the store.", {{{"op", "write"}}}},
    {StoreErrorRead, "tapdeck_store_errors_total", "", {{{"op", "read"}}}},
    {StoreErrorOpen, "tapdeck_store_errors_total", "", {{{"op", "open"}}}},
    {StorePrunedBytes, "tapdeck_store_pruned_total", "Recordings removed by retention.", {{{"reason", "max_bytes"}}}},
    {StorePrunedAge, "tapdeck_store_pruned_total", "", {{{"reason", "max_age"}}}},
    {StorePrunedCount, "tapdeck_store_pruned_total", "", {{{"reason", "max_recordings"}}}},
    {RedactedUri,
     "tapdeck_redactions_total",
     "Values replaced before they were stored or logged.",
     {{{"plane", "uri"}}}},
    {RedactedHeader, "tapdeck_redactions_total", "", {{{"plane", "header"}}}},
    {RedactedLog, "tapdeck_redactions_total", "", {{{"plane", "log"}}}},
    {Admin2xx,
     "tapdeck_admin_requests_total",
     "Requests to the admin server by class of the status code.",
     {{{"code_class", "2xx"}}}},
    {Admin3xx, "tapdeck_admin_requests_total", "", {{{"code_class", "3xx"}}}},
    {Admin4xx, "tapdeck_admin_requests_total", "", {{{"code_class", "4xx"}}}},
    {Admin5xx, "tapdeck_admin_requests_total", "", {{{"code_class", "5xx"}}}},
    {AdminDenied, "tapdeck_admin_denied_total", "Admin requests refused for their Host, Origin, token or peer."},
    {LogSuppressed, "tapdeck_log_suppressed_total",
     "Log lines kept back by the rate limit on errors that peers cause."},
};

constexpr MetricRow<Gauge> kGauges[] = {
    {Gauge::ActiveCgroup, "tapdeck_active_connections", "Client connections open now.", {{{"path", "cgroup"}}}},
    {Gauge::ActiveTc, "tapdeck_active_connections", "", {{{"path", "tc"}}}},
    {Gauge::ActiveExplicit, "tapdeck_active_connections", "", {{{"path", "explicit"}}}},
    {Gauge::UpstreamIdle, "tapdeck_upstream_idle_connections", "Upstream connections waiting in the pools."},
    {Gauge::StoreBytes, "tapdeck_store_bytes",
     "Bytes of the recordings and bodies in the store; its files hold more: what was deleted for some seconds, and "
     "what retention removed until there is enough of it."},
    {Gauge::StoreRecordings, "tapdeck_store_recordings", "Recordings in the store."},
    {Gauge::StoreQueue, "tapdeck_store_queue_bytes", "Bytes of recordings waiting for the store's writer."},
    {Gauge::FlowMapEntries, "tapdeck_flow_map_entries", "Captured flows in the kernel's flow map."},
    {Gauge::FlowMapCapacity, "tapdeck_flow_map_capacity", "Entries the kernel's flow map can hold."},
    {Gauge::LeaseDeadline, "tapdeck_lease_deadline_timestamp_seconds",
     "When the kernel programs stop trusting this daemon unless it renews its lease."},
    {Gauge::AttachedCgroup, "tapdeck_bpf_attached", "Kernel programs attached by this daemon.", {{{"path", "cgroup"}}}},
    {Gauge::AttachedTc, "tapdeck_bpf_attached", "", {{{"path", "tc"}}}},
    {Gauge::Listeners, "tapdeck_listeners", "Listening sockets over all network namespaces."},
    {Gauge::Targets, "tapdeck_targets", "Targets that are attached now."},
    {Gauge::Workers, "tapdeck_workers", "Worker threads."},
    {Gauge::StartTime, "tapdeck_start_timestamp_seconds", "When this daemon began to serve."},
    {Gauge::ConfigLoadedTime, "tapdeck_config_loaded_timestamp_seconds", "When the configuration in force was read."},
};

constexpr MetricRow<Histogram> kHistograms[] = {
    {Histogram::UpstreamDns,
     "tapdeck_upstream_duration_seconds",
     "What the origin costs, by phase; first_byte: from its connection being there, or its having all of the request "
     "where that is later, to the first byte of its answer.",
     {{{"phase", "dns"}}}},
    {Histogram::UpstreamConnect, "tapdeck_upstream_duration_seconds", "", {{{"phase", "connect"}}}},
    {Histogram::UpstreamTls, "tapdeck_upstream_duration_seconds", "", {{{"phase", "tls"}}}},
    {Histogram::UpstreamFirstByte, "tapdeck_upstream_duration_seconds", "", {{{"phase", "first_byte"}}}},
    {Histogram::LookupHit,
     "tapdeck_replay_lookup_seconds",
     "Finding the recording that answers; not of gRPC calls, nor where a worker's cache answers at once.",
     {{{"result", "hit"}}}},
    {Histogram::LookupMiss, "tapdeck_replay_lookup_seconds", "", {{{"result", "miss"}}}},
    {Histogram::LeafMint, "tapdeck_tls_leaf_mint_seconds", "Making a leaf certificate."},
    {Histogram::CommitWal,
     "tapdeck_store_commit_seconds",
     "How long the last byte of a response waited for its recording.",
     {{{"durability", "wal"}}}},
    {Histogram::CommitFsync, "tapdeck_store_commit_seconds", "", {{{"durability", "fsync"}}}},
    {Histogram::LoopLag, "tapdeck_worker_loop_lag_seconds", "How late a worker's loop ran its timer."},
};

// index == value, each row has a family, and the first row of each family has the help text.
template <class Row, size_t n>
consteval bool in_order(const Row (&rows)[n], size_t count) {
  if (n != count) return false;
  for (size_t i = 0; i < n; ++i) {
    if (static_cast<size_t>(rows[i].id) != i || rows[i].family.empty()) return false;
    const bool first = i == 0 || rows[i - 1].family != rows[i].family;
    if (first == rows[i].help.empty()) return false;
  }
  return true;
}
static_assert(in_order(kCounters, kCounterCount));
static_assert(in_order(kGauges, kGaugeCount));
static_assert(in_order(kHistograms, kHistogramCount));

}  // namespace

std::span<const MetricRow<Counter>> counter_rows() {
  return kCounters;
}
std::span<const MetricRow<Gauge>> gauge_rows() {
  return kGauges;
}
std::span<const MetricRow<Histogram>> histogram_rows() {
  return kHistograms;
}

size_t max_series() {
  size_t series =
      kCounterCount - kTargetCounters + kTargetSeries + kGaugeCount + kConnectionSeries + 1 /* build_info */;
  series += kOtherTarget;                                                       // target_info
  for (const auto& row : kHistograms) series += buckets_of(row.id).size() + 3;  // +Inf, _sum, _count
  size_t pairs = 0;
  for (size_t mode = 0; mode < kModeCount; ++mode) {
    for (size_t outcome = 0; outcome < kOutcomeCount; ++outcome) {
      pairs += can_produce(static_cast<Mode>(mode), static_cast<Outcome>(outcome)) ? 1 : 0;
    }
  }
  return series + pairs * (kRequestBuckets.size() + 3) + kTargetSlots * pairs * kCodeClasses;
}

}  // namespace tapdeck

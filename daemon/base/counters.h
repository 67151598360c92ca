// What is counted about tapdeck itself: a closed set. metrics_table.cc has a row for each, metrics.h counts.
// Thread: any; constants.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tapdeck {

// Monotonic counts. The rows of metrics_table.cc say which family and labels each is.
enum class Counter : uint16_t {
  // ---- told apart by target, up to the last of kTargetCounters
  // Flows of a target that were not captured.
  UncapturedPreExisting,
  UncapturedUdp,
  UncapturedQuic,
  UncapturedRaw,
  UncapturedMapFull,
  UncapturedLease,
  UncapturedBypass,
  UncapturedBoundDevice,
  UncapturedNoListener,
  UncapturedFamily,
  UncapturedLeftCgroup,  // processes
  // Times that a target ran uncaptured as a whole, and how long.
  TargetGaps,
  TargetGapMilliseconds,
  // Sealed replay refused something.
  SealedRefusedTcp,
  SealedRefusedUdp,
  SealedRefusedDns,
  SealedRefusedOther,
  // Replay, where nothing on tape answers.
  MissNoKey,
  MissBody,
  MissExhausted,
  MissWebSocket,  // a message of the client that is not the recorded one
  MissOpaque,     // opaque: a flow that cannot be on tape (server first, not HTTP)
  MissOrigin,     // of the modes that ask the origin then: it gave no whole answer either
  MissName,       // DNS: a name that is not on tape
  // ---- of all targets together
  // Accepted connections without a known flow: refused, never forwarded.
  NoFlowRefused,
  // What the kernel programs had to tell and had no room for: listeners asked for, refusals, processes that left.
  KernelEventsLost,
  // DNS over UDP of targets: its end was seen in passing; answered from tape; asked of a resolver by us; its end is not
  // on tape.
  NamesObserved,
  NamesReplayed,
  NamesForwarded,
  NamesLost,
  // Explicit listener: what it would not do.
  ProxyRefusedClient,
  ProxyRefusedOwnAddress,
  ProxyNoRoute,
  // The lease ran out: flows seen by the programs past it, by policy.
  LeaseExpiredOpen,
  LeaseExpiredClosed,
  // Replay refused what was recorded as refused: connect() itself, or by a reset.
  ReplayRefusedConnect,
  ReplayRefusedReset,
  // Flows handed through as bytes, by reason.
  TunnelledBypass,
  TunnelledNotTls,
  TunnelledNotHttp,
  TunnelledAlpn,
  TunnelledClientCert,
  TunnelledServerFirst,
  TunnelledUpgrade,
  TunnelledConnect,
  TunnelledBytesUp,
  TunnelledBytesDown,  // up = from the client
  TunnelsFailed,       // connections that would have been: their origin was not reached
  BytesUp,
  BytesDown,  // body bytes of exchanges, as on the client's side; no heads
  // TLS.
  TlsDownOk,
  TlsDownResumed,
  TlsDownRejectedCa,
  TlsDownLeft,         // at our certificate, without an alert
  TlsDownNoAgreement,  // the handshake failed in TLS itself
  TlsDownError,
  TlsUpOk,
  TlsUpResumed,
  TlsUpInvalid,
  TlsUpError,
  LeafCacheHit,
  LeafCacheMiss,
  // HTTP/1 refusals: never forwarded.
  SmugglingRefused,  // TE with CL, repeated CL, bad chunk, obs-fold, bare LF ...: 400 and close
  UnknownMethod,     // 501
  BadRequest,        // a first line that is not HTTP: closed without an answer
  // HTTP/2: peers that did too much of something (http/h2_guard.h), by either side.
  H2RapidReset,
  H2ServerReset,
  H2ContinuationFlood,
  H2SettingsFlood,
  H2PingFlood,
  H2PriorityFlood,
  H2Hpack,
  H2EmptyFrames,
  H2WindowGames,
  H2HeaderCount,
  // Configured limits that were hit, one each.
  LimitHeadBytes,
  LimitHeaderCount,
  LimitBodyBuffer,
  LimitMaxBody,
  LimitIdleTimeout,
  LimitHeaderTimeout,
  LimitRequestTimeout,
  LimitConnections,
  LimitTlsTimeout,
  LimitDescriptors,
  PortsExhausted,
  // Upstream failures, as the JSON error names of exchange/error_response.h.
  UpstreamRefused,
  UpstreamTimeout,
  UpstreamReset,
  UpstreamTls,
  UpstreamDns,
  UpstreamTruncated,
  UpstreamUnreachable,
  UpstreamProtocol,
  UpstreamDialed,
  UpstreamReused,  // connections made, and how often one was used again
  // Replay.
  BodyKeyRaw,
  HotCacheHit,
  HotCacheMiss,
  // gRPC.
  GrpcMessagesUp,
  GrpcMessagesDown,  // recorded messages; up = from the client
  GrpcMalformed,     // bodies that are no messages
  GrpcUndecoded,     // messages matched by their bytes although the route has rules, or compressed in an unknown way
  // Store.
  RecordingComplete,
  RecordingFailed,
  RecordingIncomplete,
  RecordingDropped,
  IncompleteStoreSlow,
  IncompleteStoreError,
  IncompleteSessionDeleted,
  IncompleteCrash,  // of a process before
  IncompleteLimit,
  IncompleteProtocol,  // what passed could not be read
  WebSocketUp,
  WebSocketDown,      // messages recorded and replayed
  StoreHoldExceeded,  // storage.hold_limit passed: bytes flowed before the recording was safe
  StoreErrorWrite,
  StoreErrorRead,
  StoreErrorOpen,
  StorePrunedBytes,
  StorePrunedAge,
  StorePrunedCount,
  RedactedUri,
  RedactedHeader,
  RedactedLog,
  // Admin server.
  Admin2xx,
  Admin3xx,
  Admin4xx,
  Admin5xx,
  AdminDenied,
  LogSuppressed,  // repeated peer errors that the rate limit kept out of the log
  kCount
};

// Levels that go up and down in a thread's array, and levels that a GaugeSource reports at scrape.
enum class Gauge : uint16_t {
  ActiveCgroup,
  ActiveTc,
  ActiveExplicit,  // tapdeck_active_connections, returns to 0
  UpstreamIdle,    // pooled upstream connections
  // From sources, but for Listeners, which the workers count.
  StoreBytes,
  StoreRecordings,
  StoreQueue,
  FlowMapEntries,
  FlowMapCapacity,
  LeaseDeadline,
  AttachedCgroup,
  AttachedTc,
  Listeners,
  Targets,
  Workers,
  StartTime,
  ConfigLoadedTime,
  kCount
};

// Durations in seconds. Request durations have their own call (two labels).
enum class Histogram : uint16_t {
  UpstreamDns,
  UpstreamConnect,
  UpstreamTls,
  UpstreamFirstByte,
  LookupHit,
  LookupMiss,
  LeafMint,
  CommitWal,
  CommitFsync,
  LoopLag,
  kCount
};

inline constexpr size_t kCounterCount = static_cast<size_t>(Counter::kCount);
inline constexpr size_t kTargetCounters = static_cast<size_t>(Counter::MissName) + 1;
[[nodiscard]] constexpr bool is_by_target(Counter counter) {
  return static_cast<size_t>(counter) < kTargetCounters;
}
inline constexpr size_t kGaugeCount = static_cast<size_t>(Gauge::kCount);
inline constexpr size_t kHistogramCount = static_cast<size_t>(Histogram::kCount);

}  // namespace tapdeck

// The configuration as plain structs, one a component; every component receives only its own. The TOML keys are the
// member names, under the section named in each struct's comment. Not a store of run-time state: see
// modes/runtime_state.h.
//
// Each key: meaning, unit, default and why, limits. A change needs a restart.
// Values are plain and copied freely. Thread: any (immutable once loaded).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::grpc {
class MessageRules;
}

namespace tapdeck::config {

using tapdeck::Mode;
using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

enum class OnLease { Open, Closed };
enum class Splice { Splice, Copy };
enum class OnBadUpstream { Mirror, BadGateway };
enum class TlsVersion { V12, V13 };
enum class Durability { Wal, Fsync, Async };
enum class OnMiss { Error, Forward };
enum class BodyOversize { Stream, Error, Bypass };
enum class ReplayRefused { Answer, Refuse };
enum class Repeat { InOrder, Latest, Cycle, Once };
enum class LogLevel { Trace, Debug, Info, Warn, Error, Off };
enum class LogFormat { Json, Pretty, Journal };
enum class LogUrl { Redacted, Path, Full };
enum class TargetKind { Container, Unit, Cgroup, Interface, Pid };
enum class Scheme { Http, Https };
enum class UpstreamHttp { Auto, V1, V2 };

// [proxy]
struct Proxy {
  // What happens to flows of targets and routes that name no mode. Default record: the first use is to make a tape.
  Mode mode = Mode::Record;
  // Replay of a connect that the origin refused: "answer" with the 502 that the recorded client was given, or "refuse"
  // it as if there were no proxy. Default answer: a replayed run prints what the recorded one printed.
  ReplayRefused replay_refused = ReplayRefused::Answer;
  // IP:port of the listener for clients that are told of a proxy, and for the routes with an `upstream`. Default
  // (empty): off. Not loopback only together with one of the two below: nobody runs an open proxy by accident.
  std::string listen;
  // IP or CIDR of the clients that may use it, beside loopback.
  std::vector<std::string> allow;
  // Any client may use it: the network before it decides who that is. Not together with `allow`.
  bool allow_remote = false;
};

// [dns]: names of explicit and reverse upstreams. Captured flows bring their addresses.
struct Dns {
  // Name servers, IP with optional :port, asked in this order. Default (empty): /etc/resolv.conf.
  std::vector<std::string> servers;
};

// [capture]
struct Capture {
  // How long the kernel programs trust a daemon that has stopped ticking, in ms. 1500: three missed ticks of 500 ms;
  // new flows pass direct (or are refused) within 2 s. 200..60000.
  uint32_t lease_ms = 1500;
  // What the programs do past the lease. Unset: open for record, hybrid and passthrough, closed for replay.
  std::optional<OnLease> on_lease;
  // How tunnelled bytes move: "splice" (kernel pipes) or "copy" (user space; for kernels or files where splice fails).
  Splice splice = Splice::Splice;
  // Entries of the flow map: concurrent captured connections, all targets. 262144 is 40 MiB of kernel memory.
  // 1024..16777216.
  uint32_t flow_map = 262144;
  // Listening sockets in one network namespace and address family; each is one descriptor, made on demand. 1..64.
  uint32_t listeners_max = 64;
  // fwmark of the daemon's own sockets; mark + 1 steers tc-captured packets, mark + 2 refuses their QUIC. Change it if
  // something else uses it. 1..0x7ffffffe.
  uint32_t mark = 0x7a9d0000;
  // Worker threads. 0: one a core this process may run on, 32 at most (a bound of the kernel maps). 0..32.
  uint32_t workers = 0;
};

// [[targets]]: exactly one of container, unit, cgroup, interface, pid.
struct Target {
  // Shown in metrics, API and logs. Default: what the selector says. Letters, digits, ".-_@:/", at most 64, unique.
  std::string name;
  TargetKind kind = TargetKind::Container;
  // Container name or id, unit name, cgroup path, interface name, or decimal pid, as `kind` says.
  std::string selector;
  // Session it records to and replays from. Unset: the daemon's active one.
  std::optional<std::string> session;
  // Unset: proxy.mode.
  std::optional<Mode> mode;
  // Nothing may leave the target uncaptured (replay: no network at all). Default false.
  bool sealed = false;
  // A response whose recording is not safe in time is reset, and not on tape. Default false: traffic first.
  bool strict = false;
  // Host globs ("*.internal"), IP, CIDR, each with optional ":port": tunnelled and counted, never decrypted; HTTP in
  // clear is forwarded and not recorded.
  std::vector<std::string> bypass;
};

// [tls]
struct Tls {
  // The install's CA, PEM. Default (empty): ca.pem and ca-key.pem in the state directory, made at first use. Both or
  // none.
  std::filesystem::path ca_cert;
  std::filesystem::path ca_key;
  // Extra PEM bundles that upstream certificates may chain to, beside the system's.
  std::vector<std::filesystem::path> upstream_ca;
  // An upstream that fails verification: "mirror" shows the client the same kind of failure, "502" answers with JSON.
  OnBadUpstream on_bad_upstream = OnBadUpstream::Mirror;
  // How long a verified upstream (address, SNI, ALPN) counts without dialling. 60s. 0s..1h.
  Seconds verify_ttl{60};
  // Validity of minted leaves. 7: short enough to be harmless, long enough for a paused container. 1..397.
  uint32_t leaf_days = 7;
  // Leaves kept in memory. 4096 is about 12 MiB. 16..1048576.
  uint32_t leaf_cache = 4096;
  // Lowest version towards clients; towards origins it is 1.2. "1.2" or "1.3".
  TlsVersion min_version = TlsVersion::V12;
  // DNS suffixes or CIDRs the CA is restricted to when it is made. Empty: unrestricted.
  std::vector<std::string> name_constraints;
  // Host globs and CIDR:port that are never decrypted, for all targets; HTTP in clear is forwarded and not recorded.
  std::vector<std::string> bypass;
};

// [storage]
struct Storage {
  // State directory. Default (empty): /var/lib/tapdeck as root, else ~/.local/share/tapdeck. --state-dir wins.
  std::filesystem::path path;
  // When a response's last byte may leave: "wal" after the log write (survives kill -9), "fsync" after the disk
  // (survives power loss), "async" at once. Default wal.
  Durability durability = Durability::Wal;
  // Longest hold of that byte when the store is slow; then the recording is reported as not safe. 1s. 1ms..60s.
  Milliseconds hold_limit{1000};
  // Oldest recordings go when the store grows past this. 0: no bound. Any size.
  uint64_t max_bytes = 0;
  // Same by number. 0: no bound.
  uint64_t max_recordings = 0;
  // Same by age. 0s: no bound. 0s..36500d.
  Seconds max_age{0};
  // RocksDB block cache. 64MiB. 1MiB..
  uint64_t cache_bytes = 64ULL << 20;
};

// [limits]. Passing one is a defined answer and a metric (docs/METRICS.md).
struct Limits {
  // Client connections at once; more are closed at accept. 8000 fits the usual 20,000 descriptors. 1..1000000.
  uint32_t connections = 8000;
  // Request line and header bytes, and separately trailers: 431; an origin's: 502. 64 KiB as most servers allow.
  // 1KiB..16MiB.
  uint64_t head_bytes = 65536;
  // Header fields: 431; an origin's: 502. 256. 8..10000.
  uint32_t headers = 256;
  // Streams of one HTTP/2 client connection at a time: one more gets REFUSED_STREAM. 1000, since a gRPC channel keeps
  // all its watches on one; docs/FLOW_CONTROL.md has what they may hold. 1..10000.
  uint32_t h2_streams = 1000;
  // Body bytes held for one direction of one exchange before its sender is paused. 1 MiB. 16KiB..1GiB.
  uint64_t body_buffer = 1ULL << 20;
  // Body bytes a direction beyond which body_oversize decides. 0: none, since bodies are stored as they pass.
  uint64_t max_body = 0;
  // "stream": recorded like any other. "error": 413, or 502 when it is the origin's. "bypass": passed on, not stored.
  BodyOversize body_oversize = BodyOversize::Stream;
  // First byte of a head to its last: 408; of a ClientHello: closed. 10s. 10ms..1h.
  Milliseconds header_timeout{10'000};
  // Keep-alive connection or tunnel without a byte. 5m. 10ms..24h.
  Milliseconds idle_timeout{300'000};
  // Whole exchange: 504. 0: none, since downloads and streams may last. 0..24h.
  Milliseconds request_timeout{0};
  // TCP connect to an upstream address: 504. 5s. 10ms..10m.
  Milliseconds connect_timeout{5'000};
  // Looking a name up, all servers and tries together: 502. 5s. 10ms..10m.
  Milliseconds dns_timeout{5'000};
  // Either TLS handshake. 10s. 10ms..10m.
  Milliseconds tls_timeout{10'000};
  // SIGTERM: open exchanges may finish for this long. 30s. 0..1h.
  Milliseconds drain_timeout{30'000};
  // Wait for the client's first byte before the origin is dialled (server-first protocols), or in replay the session is
  // asked. 300ms. 1ms..60s.
  Milliseconds sniff_timeout{300};
};

// [admin]
struct Admin {
  // Loopback IP:port of the HTTP API and /metrics; "off" (empty here) = unix socket only. Not loopback is refused.
  std::string listen = "127.0.0.1:9909";
  // Unix socket, 0600; 107 bytes at most. Default (empty): admin.sock in the run directory.
  std::filesystem::path socket;
  // Holds the bearer token of TCP writes; made at start, 0600. Default (empty): admin.token in the run directory.
  std::filesystem::path token_file;
  // Reading recordings over TCP needs the token too. Default false: whoever may talk to loopback here may read them.
  bool protect_recordings = false;
  // Host header values accepted beside localhost, 127.0.0.1 and [::1] (a page of another name must not reach us).
  std::vector<std::string> allowed_hosts;
};

// [log]
struct Log {
  LogLevel level = LogLevel::Info;  // trace, debug, info, warn, error, off.
  // json, pretty, journal. Default: journal when systemd reads stderr, else pretty.
  std::optional<LogFormat> format;
  // How much of a URL is printed: "redacted" query values, "path" only, or "full".
  LogUrl url = LogUrl::Redacted;
  // One line an exchange. Default true for serve where level is info or below, false for run.
  std::optional<bool> access;
};

// [redact]: what never reaches the disk in clear.
struct Redact {
  // Header names whose values are replaced (matching still works, by a keyed hash), beside Authorization,
  // Proxy-Authorization, Cookie and Set-Cookie, which always are. None that frames or routes a message.
  std::vector<std::string> headers = {"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"};
  // Query parameter names, same; as an application reads them, decoded. Neither list has patterns.
  std::vector<std::string> query;
};

// [routes.streaming]: when the bytes of a replayed response leave.
struct Streaming {
  // "instant", "recorded" (the first byte and every piece as long after the request as recorded), or "2x", "0.5x":
  // that many times as fast. Default instant.
  std::string pace = "instant";
};
// How many times as fast as recorded; 0: at once.
[[nodiscard]] double pace_factor(std::string_view pace);

// How much of a recorded WebSocket the client must repeat; see modes/websocket_script.h.
enum class WebSocketMode { Matched, Bidirectional, ServerOnly };
enum class WebSocketPace { Instant, Recorded };

// [routes.websocket]: replay of WebSockets. Without the table its defaults hold.
struct WebSocket {
  // "matched": client messages compared by value, in any order; "bidirectional": byte for byte and in order;
  // "server-only": not looked at. Default matched: what a client says with fresh ids and times can still match.
  WebSocketMode mode = WebSocketMode::Matched;
  // matched: JSON paths ("$.id", "$..nonce", "/payload/id") whose values do not count; the origin's messages get the
  // client's fresh value where a recorded one stood at such a path.
  std::vector<std::string> ignore;
  // When the origin's messages go: "instant", or "recorded": as long after the message that caused them (the opening,
  // if none did) as when they were recorded.
  WebSocketPace pace = WebSocketPace::Instant;
};

// [routes.grpc]: what of a gRPC client's messages takes part in matching. Without it: the messages themselves.
struct Grpc {
  // .proto text, or descriptor sets (any other name). Read at start; imports are searched from each file's folder up.
  std::vector<std::filesystem::path> proto_files;
  // Fields that are compared, by name (needs proto_files) or by number: "user.id", "2.3". Empty with proto_files: the
  // whole message by value. See field_path.h.
  std::vector<std::string> match_fields;
  // Not a key: the two above compiled, once, by app/grpc_rules.cc; null until then.
  std::shared_ptr<const grpc::MessageRules> rules;
};

// [[routes]]: the first whose given conditions all hold decides. Conditions left out match everything.
struct Route {
  std::string name;                        // shown in misses; default "route N", unique
  std::optional<std::string> host;         // glob over the host name, "*.example.com"; any case, no port
  std::optional<uint16_t> port;            // original destination port
  std::optional<Scheme> scheme;            // "http" | "https"
  std::optional<std::string> path;         // whole path, percent-encoded as clients send it, without query
  std::optional<std::string> path_prefix;  // not together with path
  std::optional<std::string> method;       // in capitals
  std::optional<std::string> target;       // a target's name
  std::optional<Mode> mode;                // instead of the target's.
  OnMiss on_miss = OnMiss::Error;          // replay: "error" (502 JSON) or "forward".
  // What is spoken with the origin: "auto" (TLS: what it picks of the client's offer; in clear: what the client
  // speaks), "1.1", or "2" (in clear by prior knowledge, h2c). Clients are then offered what they like best, and
  // translated. With scheme = "https" not together with path, path_prefix or method: the handshake comes first.
  UpstreamHttp upstream_http = UpstreamHttp::Auto;
  Repeat repeat = Repeat::InOrder;            // n-th identical request: in-order, latest, cycle, once.
  std::optional<BodyOversize> body_oversize;  // instead of limits.body_oversize.
  // Reverse proxy: where requests for proxy.listen itself go that this route fits, "http://", "https://" or "h2c://"
  // (HTTP/2 in clear), host and optional port. A route with an upstream fits nothing else.
  std::optional<std::string> upstream;
  // Host becomes the upstream's. false: the client's Host goes on. Default true: virtual hosts need their name.
  bool rewrite_host = true;
  // Takes the place of the part of the path that `path` or `path_prefix` named; without either goes before the path.
  std::optional<std::string> rewrite_path;
  std::optional<Streaming> streaming;
  std::optional<WebSocket> websocket;
  std::optional<Grpc> grpc;  // [routes.grpc]
};

struct Config {
  Proxy proxy;
  Capture capture;
  std::vector<Target> targets;
  Tls tls;
  Storage storage;
  Limits limits;
  Dns dns;
  Admin admin;
  Log log;
  Redact redact;
  std::vector<Route> routes;
  std::filesystem::path source;  // the file; empty = built-in defaults
  // Not keys: what is allowed but most likely meant otherwise, each written as errors are.
  std::vector<std::string> warnings;
};

// What targets are called that no file names: the clients of proxy.listen, and the command of `tapdeck run`.
inline constexpr const char* kProxyTarget = "explicit";
inline constexpr const char* kRunTarget = "run";
// Slots that targets have: 0 is the daemon's own, 63 what metrics call "other".
inline constexpr uint32_t kMostTargets = 62;

inline constexpr std::string_view kDefaultPath = "/etc/tapdeck/tapdeck.toml";

// Whether the files that a configuration names (upstream_ca, proto_files) have to be there: for those who read them.
enum class NamedFiles : uint8_t { MustExist, Any };

// Reads TOML. Error InvalidConfig: one line each problem, "file:line:column: what (did you mean 'key'?)"; all problems
// are reported at once unless the text is not TOML. Relative paths become relative to `directory`.
[[nodiscard]] Result<Config> parse(std::string_view text, std::string_view file,
                                   const std::filesystem::path& directory);
// The same from a file; NotFound, Permission, Io when it cannot be read.
[[nodiscard]] Result<Config> load(const std::filesystem::path& file, NamedFiles files = NamedFiles::MustExist);
// Every key with its value in force, as TOML that parse() reads back to the same Config.
[[nodiscard]] std::string to_toml(const Config& config);

// The spellings of the configuration file.
[[nodiscard]] std::string_view to_string(Durability value);
[[nodiscard]] std::string_view to_string(Repeat value);
[[nodiscard]] std::string_view to_string(TargetKind value);
[[nodiscard]] std::string_view to_string(OnLease value);
[[nodiscard]] std::string_view to_string(OnMiss value);

// What `on_lease` means for a target in this mode.
[[nodiscard]] OnLease lease_policy(const Capture& capture, Mode mode);

// What is wrong with this name of a target; nullopt: nothing.
[[nodiscard]] std::optional<std::string> check_target_name(std::string_view text);
// What a target is called that was given no name: its selector, as far as that is one; of a long path its end.
[[nodiscard]] std::string name_of_selector(std::string_view selector);

}  // namespace tapdeck::config

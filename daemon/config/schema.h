// The one list of configuration keys: name, place, unit and limits. The reader (load.cc) and the printer (print.cc) are
// visitors of it, so that a key cannot be read but not shown. Internal to config/. Thread: any.
//
// A visitor has: integer, size, duration, boolean, maybe_boolean, text, maybe_text, texts, path, paths, choice,
// maybe_choice, maybe_integer, and table (last in its visit: TOML wants plain keys before inner tables).
#pragma once

#include <array>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/config/config.h"

namespace tapdeck::config {

template <class E>
struct Word {
  std::string_view text;
  E value;
};

inline constexpr std::array kModes = {Word{"record", Mode::Record}, Word{"replay", Mode::Replay},
                                      Word{"hybrid", Mode::Hybrid}, Word{"passthrough", Mode::Passthrough},
                                      Word{"passthrough-cache", Mode::Hybrid}};
inline constexpr std::array kOnLease = {Word{"open", OnLease::Open}, Word{"closed", OnLease::Closed}};
inline constexpr std::array kSplice = {Word{"splice", Splice::Splice}, Word{"copy", Splice::Copy}};
inline constexpr std::array kOnBadUpstream = {Word{"mirror", OnBadUpstream::Mirror},
                                              Word{"502", OnBadUpstream::BadGateway}};
inline constexpr std::array kTlsVersions = {Word{"1.2", TlsVersion::V12}, Word{"1.3", TlsVersion::V13}};
inline constexpr std::array kDurability = {Word{"wal", Durability::Wal}, Word{"fsync", Durability::Fsync},
                                           Word{"async", Durability::Async}};
inline constexpr std::array kOnMiss = {Word{"error", OnMiss::Error}, Word{"forward", OnMiss::Forward}};
inline constexpr std::array kReplayRefused = {Word{"answer", ReplayRefused::Answer},
                                              Word{"refuse", ReplayRefused::Refuse}};
inline constexpr std::array kBodyOversize = {Word{"stream", BodyOversize::Stream}, Word{"error", BodyOversize::Error},
                                             Word{"bypass", BodyOversize::Bypass}};
inline constexpr std::array kRepeat = {Word{"in-order", Repeat::InOrder}, Word{"latest", Repeat::Latest},
                                       Word{"cycle", Repeat::Cycle}, Word{"once", Repeat::Once}};
inline constexpr std::array kWebSocketModes = {Word{"matched", WebSocketMode::Matched},
                                               Word{"bidirectional", WebSocketMode::Bidirectional},
                                               Word{"server-only", WebSocketMode::ServerOnly}};
inline constexpr std::array kWebSocketPaces = {Word{"instant", WebSocketPace::Instant},
                                               Word{"recorded", WebSocketPace::Recorded}};
inline constexpr std::array kLogLevels = {Word{"trace", LogLevel::Trace}, Word{"debug", LogLevel::Debug},
                                          Word{"info", LogLevel::Info},   Word{"warn", LogLevel::Warn},
                                          Word{"error", LogLevel::Error}, Word{"off", LogLevel::Off}};
inline constexpr std::array kLogFormats = {Word{"json", LogFormat::Json}, Word{"pretty", LogFormat::Pretty},
                                           Word{"journal", LogFormat::Journal}};
inline constexpr std::array kLogUrls = {Word{"redacted", LogUrl::Redacted}, Word{"path", LogUrl::Path},
                                        Word{"full", LogUrl::Full}};
inline constexpr std::array kUpstreamHttp = {Word{"auto", UpstreamHttp::Auto}, Word{"1.1", UpstreamHttp::V1},
                                             Word{"2", UpstreamHttp::V2}};
inline constexpr std::array kSchemes = {Word{"http", Scheme::Http}, Word{"https", Scheme::Https}};
inline constexpr std::array kTargetKinds = {Word{"container", TargetKind::Container}, Word{"unit", TargetKind::Unit},
                                            Word{"cgroup", TargetKind::Cgroup},
                                            Word{"interface", TargetKind::Interface}, Word{"pid", TargetKind::Pid}};

template <class E, size_t n>
std::string_view word_of(const std::array<Word<E>, n>& words, E value) {
  for (const auto& word : words) {
    if (word.value == value) return word.text;
  }
  return words[0].text;
}

// A check says what is wrong with a value, or nullopt. Defined in checks.cc.
using Check = std::optional<std::string> (*)(std::string_view);
std::optional<std::string> check_any(std::string_view text);
std::optional<std::string> check_session(std::string_view text);
std::optional<std::string> check_pid(std::string_view text);
std::optional<std::string> check_bypass(std::string_view text);
std::optional<std::string> check_listen(std::string_view text);
std::optional<std::string> check_proxy_listen(std::string_view text);
std::optional<std::string> check_network(std::string_view text);  // IP or CIDR
std::optional<std::string> check_server(std::string_view text);   // IP with optional port
std::optional<std::string> check_upstream(std::string_view text);
std::optional<std::string> check_host(std::string_view text);
std::optional<std::string> check_token(std::string_view text);     // RFC 9110 5.6.2: header names
std::optional<std::string> check_redacted(std::string_view text);  // a header name that replay can do without
std::optional<std::string> check_socket(std::string_view text);    // a whole path
std::optional<std::string> check_constraint(std::string_view text);
std::optional<std::string> check_pace(std::string_view text);
std::optional<std::string> check_json_path(std::string_view text);
std::optional<std::string> check_field_path(std::string_view text);
// What is compared with what passes by, and could never be equal to it. Defined in match_checks.cc.
std::optional<std::string> check_host_glob(std::string_view text);
std::optional<std::string> check_path(std::string_view text);
std::optional<std::string> check_method(std::string_view text);
std::optional<std::string> check_unit(std::string_view text);
std::optional<std::string> check_interface(std::string_view text);
std::optional<std::string> check_parameter(std::string_view text);  // of a query, as an application reads its name
std::optional<std::string> doubt_of_parameter(std::string_view text);
std::optional<std::string> doubt_of_container(std::string_view text);

// A rule over several keys that is broken, and which key to show: the section, if it is not there.
struct Broken {
  std::string_view key;
  std::string what;
};
// Of one section. Defined in rules.cc, as the rest.
template <class T>
std::vector<Broken> broken_rules(const T&) {
  return {};
}
std::vector<Broken> broken_rules(const Proxy& proxy);
std::vector<Broken> broken_rules(const Tls& tls);
std::vector<Broken> broken_rules(const Admin& admin);
std::vector<Broken> broken_rules(const Route& route);
// Gives the last of them the name that it was not given, and says what is wrong with it beside those before.
std::vector<Broken> take_in(std::vector<Target>& targets);
std::vector<Broken> take_in(std::vector<Route>& routes);

// What is wrong at a place in the file, "routes[1].websocket.ignore".
struct Finding {
  std::string path;
  std::string what;
};
// Sections that cannot both be meant. Defined in contradictions.cc.
std::vector<Finding> contradictions(const Config& config);
// What is allowed but most likely meant otherwise.
std::vector<Finding> doubts(const Config& config);

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kNoMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

template <class V>
void visit(V& v, Proxy& c) {
  v.choice("mode", c.mode, kModes);
  v.choice("replay_refused", c.replay_refused, kReplayRefused);
  v.text("listen", c.listen, check_proxy_listen);
  v.texts("allow", c.allow, check_network);
  v.boolean("allow_remote", c.allow_remote);
}

template <class V>
void visit(V& v, Dns& c) {
  v.texts("servers", c.servers, check_server);
}

template <class V>
void visit(V& v, Capture& c) {
  v.integer("lease_ms", c.lease_ms, 200, 60'000);
  v.maybe_choice("on_lease", c.on_lease, kOnLease);
  v.choice("splice", c.splice, kSplice);
  v.integer("flow_map", c.flow_map, 1024, 16'777'216);
  v.integer("listeners_max", c.listeners_max, 1, 64);
  v.integer("mark", c.mark, 1, 0x7ffffffe);
  v.integer("workers", c.workers, 0, 32);
}

template <class V>
void visit(V& v, Tls& c) {
  using std::chrono::hours;
  v.path("ca_cert", c.ca_cert);
  v.path("ca_key", c.ca_key);
  v.paths("upstream_ca", c.upstream_ca);
  v.choice("on_bad_upstream", c.on_bad_upstream, kOnBadUpstream);
  v.duration("verify_ttl", c.verify_ttl, Seconds(0), hours(1));
  v.integer("leaf_days", c.leaf_days, 1, 397);
  v.integer("leaf_cache", c.leaf_cache, 16, 1'048'576);
  v.choice("min_version", c.min_version, kTlsVersions);
  v.texts("name_constraints", c.name_constraints, check_constraint);
  v.texts("bypass", c.bypass, check_bypass);
}

template <class V>
void visit(V& v, Storage& c) {
  v.path("path", c.path);
  v.choice("durability", c.durability, kDurability);
  v.duration("hold_limit", c.hold_limit, Milliseconds(1), Seconds(60));
  v.size("max_bytes", c.max_bytes, 0, kNoMax);
  v.integer("max_recordings", c.max_recordings, 0, kNoMax);
  v.duration("max_age", c.max_age, Seconds(0), std::chrono::hours(24 * 36500));
  v.size("cache_bytes", c.cache_bytes, 1024 * kKiB, kNoMax);
}

template <class V>
void visit(V& v, Limits& c) {
  using std::chrono::hours;
  const Milliseconds least(10);
  v.integer("connections", c.connections, 1, 1'000'000);
  v.size("head_bytes", c.head_bytes, kKiB, 16'384 * kKiB);
  v.integer("headers", c.headers, 8, 10'000);
  v.integer("h2_streams", c.h2_streams, 1, 10'000);
  v.size("body_buffer", c.body_buffer, 16 * kKiB, 1'048'576 * kKiB);
  v.size("max_body", c.max_body, 0, kNoMax);
  v.choice("body_oversize", c.body_oversize, kBodyOversize);
  v.duration("header_timeout", c.header_timeout, least, hours(1));
  v.duration("idle_timeout", c.idle_timeout, least, hours(24));
  v.duration("request_timeout", c.request_timeout, Milliseconds(0), hours(24));
  v.duration("connect_timeout", c.connect_timeout, least, std::chrono::minutes(10));
  v.duration("dns_timeout", c.dns_timeout, least, std::chrono::minutes(10));
  v.duration("tls_timeout", c.tls_timeout, least, std::chrono::minutes(10));
  v.duration("drain_timeout", c.drain_timeout, Milliseconds(0), hours(1));
  v.duration("sniff_timeout", c.sniff_timeout, Milliseconds(1), Seconds(60));
}

template <class V>
void visit(V& v, Admin& c) {
  v.text("listen", c.listen, check_listen);
  v.path("socket", c.socket, check_socket);
  v.path("token_file", c.token_file);
  v.boolean("protect_recordings", c.protect_recordings);
  v.texts("allowed_hosts", c.allowed_hosts, check_host);
}

template <class V>
void visit(V& v, Log& c) {
  v.choice("level", c.level, kLogLevels);
  v.maybe_choice("format", c.format, kLogFormats);
  v.choice("url", c.url, kLogUrls);
  v.maybe_boolean("access", c.access);
}

template <class V>
void visit(V& v, Redact& c) {
  v.texts("headers", c.headers, check_redacted);
  v.texts("query", c.query, check_parameter);
}

// The selector (container = "web" ...) is handled by the visitor itself: selector(target).
template <class V>
void visit(V& v, Target& c) {
  v.text("name", c.name, check_target_name);
  v.selector(c);
  v.maybe_text("session", c.session, check_session);
  v.maybe_choice("mode", c.mode, kModes);
  v.boolean("sealed", c.sealed);
  v.boolean("strict", c.strict);
  v.texts("bypass", c.bypass, check_bypass);
}

template <class V>
void visit(V& v, Streaming& c) {
  v.text("pace", c.pace, check_pace);
}

template <class V>
void visit(V& v, WebSocket& c) {
  v.choice("mode", c.mode, kWebSocketModes);
  v.texts("ignore", c.ignore, check_json_path);
  v.choice("pace", c.pace, kWebSocketPaces);
}

template <class V>
void visit(V& v, Grpc& c) {
  v.paths("proto_files", c.proto_files);
  v.texts("match_fields", c.match_fields, check_field_path);
}

template <class V>
void visit(V& v, Route& c) {
  v.text("name", c.name, check_any);
  v.maybe_text("host", c.host, check_host_glob);
  v.maybe_integer("port", c.port, 1, 65'535);
  v.maybe_choice("scheme", c.scheme, kSchemes);
  v.maybe_text("path", c.path, check_path);
  v.maybe_text("path_prefix", c.path_prefix, check_path);
  v.maybe_text("method", c.method, check_method);
  v.maybe_text("target", c.target, check_target_name);
  v.maybe_choice("mode", c.mode, kModes);
  v.choice("upstream_http", c.upstream_http, kUpstreamHttp);
  v.choice("on_miss", c.on_miss, kOnMiss);
  v.choice("repeat", c.repeat, kRepeat);
  v.maybe_choice("body_oversize", c.body_oversize, kBodyOversize);
  v.maybe_text("upstream", c.upstream, check_upstream);
  v.boolean("rewrite_host", c.rewrite_host);
  v.maybe_text("rewrite_path", c.rewrite_path, check_path);
  v.table("streaming", c.streaming);
  v.table("websocket", c.websocket);
  v.table("grpc", c.grpc);
}

// Every section: v.section(name, struct) and v.array(name, vector).
template <class V>
void visit_all(V& v, Config& c) {
  v.section("proxy", c.proxy);
  v.section("capture", c.capture);
  v.section("tls", c.tls);
  v.section("storage", c.storage);
  v.section("limits", c.limits);
  v.section("dns", c.dns);
  v.section("admin", c.admin);
  v.section("log", c.log);
  v.section("redact", c.redact);
  v.array("targets", c.targets);
  v.array("routes", c.routes);
}

}  // namespace tapdeck::config

// Recording: what one exchange left behind, as plain values. Also the answers of listing calls.
//
// Not the stored bytes (record_codec) and not where they live (exchange_store). Heads, trailers and the target are
// already redacted here: the originals exist only inside the match key, keyed and one way. Thread: any, one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/hex.h"
#include "daemon/http/message.h"

namespace tapdeck::store {

using Digest = std::array<uint8_t, 32>;
using tapdeck::to_hex;
[[nodiscard]] inline std::string_view view(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// A match key: equal when two requests are the same under the rules of their session. See match_key.h.
struct Key {
  Digest bytes{};
  friend auto operator<=>(const Key&, const Key&) = default;
};

// A piece of a body, stored once under the SHA-256 of its bytes however many recordings hold it.
struct Segment {
  Digest digest{};
  uint64_t size = 0;
  friend bool operator==(const Segment&, const Segment&) = default;
};

// When and in which portions a body arrived.
struct Chunk {
  enum class Kind : uint8_t {
    Arrival,  // bytes as they were read; neighbours less than 1 ms apart are merged
    H1Chunk,  // a chunk of the origin's chunked coding, to be written again as such; of no bytes behind all: the last
  };
  Kind kind = Kind::Arrival;
  uint64_t offset = 0;        // in the body
  uint64_t length = 0;        // an H1Chunk cut short by a reset keeps the length that arrived
  uint64_t microseconds = 0;  // since the exchange began
  std::string extension;      // of an H1Chunk, with its leading ';'
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

// Whose bytes: the client's or the origin's.
enum class BodySide : uint8_t { Request, Response };

// A message of a WebSocket or gRPC exchange. Its payload is the `length` bytes at `offset` of that side's body: the
// payload alone for WebSocket (unmasked, inflated), the five byte prefix and the message as sent for gRPC.
//
// GrpcHead and GrpcEnd have no bytes. They mark where, among the messages, the response head passed (Response) and the
// client ended its side (Request): what replay must wait for is decided by that order.
struct Message {
  enum class Kind : uint8_t { Text, Binary, Ping, Pong, Close, Grpc, GrpcHead, GrpcEnd };
  BodySide side = BodySide::Request;
  Kind kind = Kind::Binary;
  bool compressed = false;  // permessage-deflate, or the gRPC compressed flag
  uint16_t code = 0;        // Close: the status code, 1005 when there was none
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t microseconds = 0;  // since the exchange began
  friend bool operator==(const Message&, const Message&) = default;
};
[[nodiscard]] std::string_view to_string(Message::Kind kind);

// A body as wire bytes with their content coding. Either `inline_bytes` holds all of it, or `segments` in order do.
struct BodyRef {
  uint64_t size = 0;
  std::string inline_bytes;
  std::vector<Segment> segments;
  std::vector<Chunk> timeline;
  [[nodiscard]] bool empty() const { return size == 0; }
  friend bool operator==(const BodyRef&, const BodyRef&) = default;
};

// How the exchange ended on the wire.
struct Outcome {
  enum class Kind : uint8_t {
    Complete,
    Truncated,   // the origin closed in the middle of the response, after `at_bytes` of body
    Reset,       // the origin reset (RST, RST_STREAM) after `at_bytes` of body
    Failed,      // no response at all; `reason` is the error name: "upstream_connect", "upstream_timeout", ...
    Incomplete,  // ours: crash, lost hold, client gone. What is there is a prefix; `reason` says which
  };
  Kind kind = Kind::Complete;
  uint64_t at_bytes = 0;
  std::string reason;
  uint32_t code = 0;  // what `reason` leaves open: an errno, a TLS alert, an HTTP/2 error code; 0: nothing
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
[[nodiscard]] std::string_view to_string(Outcome::Kind kind);

// Durations of the phases, in microseconds; 0 = did not happen (pooled connection, clear text).
struct Timings {
  uint64_t dns = 0, connect = 0, tls = 0, first_byte = 0, total = 0;
  uint64_t head = 0;  // of the final response, where interim ones came before it; else it came with first_byte
  friend bool operator==(const Timings&, const Timings&) = default;
};

// Where an exchange came from. Information for people and for mirroring TLS; never part of the key.
struct Provenance {
  std::string target;  // target name or id; the client of cursors
  uint64_t cgroup_id = 0;
  uint64_t netns_cookie = 0;
  uint32_t pid = 0;
  uint32_t uid = 0;
  std::string comm;
  Endpoint client;
  Endpoint original_destination;
  std::string capture_path;  // "cgroup" | "tc" | "netns" | "explicit"
  std::string sni;
  std::string alpn;         // agreed with the client
  std::string tls_version;  // "TLSv1.3", empty for clear text
  std::string upstream_alpn;
  std::string peer_certificate_sha256;  // 64 hex digits, empty for clear text
  std::string upstream_verify_failure;  // kind, empty when it verified: "expired", "self_signed", ...
  std::string route;
  Timings timings;
  friend bool operator==(const Provenance&, const Provenance&) = default;
};

// A dimension of the key that a route added, beyond the fixed ones.
struct KeyDimension {
  std::string name;  // "header:accept"
  Digest value{};    // keyed digest
  friend bool operator==(const KeyDimension&, const KeyDimension&) = default;
};

// Of the format of recordings (record_codec.h). 2: messages, an outcome's code, the :protocol of an extended CONNECT.
// 3: Timings::head. 4: the last chunk, and kClientGone only of who left by itself.
inline constexpr uint8_t kRecordVersion = 4;

struct Recording {
  uint64_t id = 0;      // unique in its store, grows in the order requests began; 0 = not stored yet
  std::string session;  // id and session come from the row, not from the encoded bytes
  uint64_t take = 0;    // from 1, per session
  int64_t started_unix_us = 0;
  Key key;
  Digest request_body_digest{};  // keyed, zero for an empty body; see KeyParts
  std::vector<KeyDimension> dimensions;

  std::string scheme;  // "http" | "https"
  std::string host;    // lower case, without port
  uint16_t port = 0;
  http::RequestHead request;
  BodyRef request_body;
  http::Headers request_trailers;
  std::vector<http::ResponseHead> informational;
  http::ResponseHead response;  // status 0 when there was none
  BodyRef response_body;
  http::Headers response_trailers;
  std::vector<Message> messages;  // of both sides, in the order they passed
  Outcome outcome;
  Provenance provenance;
  uint8_t version = kRecordVersion;  // that it was made in: what is copied keeps it

  // scheme://host[:port]target, the port left out when it is the scheme's own. Redacted like the rest.
  [[nodiscard]] std::string url() const;
};

// Nothing was answered, and an HTTP/2 client was told by the code to ask again, or over HTTP/1.1: REFUSED_STREAM,
// HTTP_1_1_REQUIRED (RFC 9113 8.7, 7).
[[nodiscard]] bool was_turned_away(const Recording& recording);
// Incomplete, or turned away: answers only where nothing else of its key does; but see ReplayRank.
[[nodiscard]] bool is_last_resort(const Recording& recording);

// Outcome::reason of an Incomplete one whose client left: by itself, or when its whole run had been told to end. Before
// version 4 the first is both.
inline constexpr std::string_view kClientGone = "client_gone";
inline constexpr std::string_view kInterrupted = "interrupted";

// What a recording is to its key, as the store's index has it.
enum class ReplayRank : uint8_t {
  LastResort = 0,  // is_last_resort()
  Finished = 1,
  Left = 2,  // a last resort too where nothing is Finished; else it has its turn, since its client left by itself
};
[[nodiscard]] ReplayRank replay_rank_of(const Recording& recording);
// When it ended, as far as its times say.
[[nodiscard]] int64_t ended_unix_us(const Recording& recording);

// What is known of an origin from a session: lets replay offer the same ALPN and mirror the same failure unasked.
struct OriginFacts {
  std::string alpn;
  std::string tls_version;
  std::string verify_failure;
  std::string peer_certificate_sha256;
  bool is_of_offer = false;  // by look-up: `alpn` is what this very offer was answered with
  friend bool operator==(const OriginFacts&, const OriginFacts&) = default;
};

// What a client offered by ALPN, as far as we speak it ("h2,http/1.1"; empty: nothing), and what it was given.
struct AlpnChoice {
  std::string offered, agreed;
  bool is_learned = true;  // from the origin; else ours, which counts only where nothing was learned
  friend bool operator==(const AlpnChoice&, const AlpnChoice&) = default;
};

// An open take of a session: what a recorder needs to write into it.
struct Take {
  std::string session;
  uint32_t session_number = 0;  // internal row prefix, stable while the session lives
  uint64_t number = 0;          // from 1
};

struct SessionInfo {
  std::string name;
  uint32_t number = 0;
  uint64_t takes = 0;
  uint64_t recordings = 0;
  uint64_t bytes = 0;  // of its recordings, bodies shared with others counted in each
  int64_t created_unix_us = 0;
  int64_t last_recorded_unix_us = 0;  // 0 = never
  bool active = false;                // the store's default session
};

}  // namespace tapdeck::store

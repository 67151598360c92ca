// RecordingBuilder: collects one exchange as it passes and turns it into writes for the store.
//
// Sans-IO and bounded: it holds at most one unfinished 256 KiB segment a direction; full segments leave through
// take_writes(). What lives long and talks in messages is saved by checkpoint() meanwhile. Every plane is redacted
// before it is encoded, and the match key is made from the originals. It does not decide how long a response may be
// held (the recording mode does). Owner: one exchange. Thread: its Worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/message.h"
#include "store/digest_memo.h"
#include "store/match_key.h"
#include "store/record.h"
#include "store/redact.h"

namespace tapdeck::store {

// Bodies up to this size are kept inside their record; larger ones go into shared segments.
inline constexpr size_t kInlineBodyBytes = 512;
inline constexpr size_t kSegmentBytes = 256 * 1024;

// One step of a recording on its way to the store. Short exchanges are a single Finish; long ones Begin at their first
// full segment, so that a crash leaves a marked prefix.
struct PendingWrite {
  enum class Step : uint8_t { Begin, Segment, Journal, Finish, Abandon, Origin, Note };
  struct Blob {
    Segment segment;
    std::shared_ptr<const std::string> bytes;
  };
  Step step = Step::Finish;
  bool request_side = false;               // Segment: which body it continues
  ReplayRank rank = ReplayRank::Finished;  // Finish
  bool was_begun = false;                  // Finish: there is a Begin to clear
  bool dropped = false;                    // Finish, set by the store: its session is gone, it was not written
  uint32_t part = 0;                       // Segment and Journal: 0, 1, 2 ... in the order of both bodies together
  uint32_t session_number = 0;
  uint64_t take = 0;
  uint64_t id = 0;
  int64_t started_unix_us = 0;
  Key key;
  std::string encoded;             // the record; Begin and Finish. Journal: its entry. Note: what is kept
  std::vector<Blob> blobs;         // new bytes
  std::vector<Digest> references;  // every segment the record uses; Finish and Abandon
  uint64_t body_bytes = 0;         // both bodies; Finish
  // What was learnt of the origin; Finish, and Origin, which is nothing else. Note: the place, and in `alpn` the offer,
  // beside which it is kept instead of what was there.
  std::string host;
  uint16_t port = 0;
  OriginFacts origin;
  std::optional<AlpnChoice> alpn;       // clients that offer the same are given the same in replay
  [[nodiscard]] size_t memory() const;  // bytes held, for the queue's bound
};

// What was learnt of an origin without an exchange: a client may leave at the sight of its certificate. Without
// `alpn.is_learned` it counts only where the session knows nothing of the origin yet.
[[nodiscard]] PendingWrite origin_write(const Take& take, std::string_view host, uint16_t port, OriginFacts facts,
                                        AlpnChoice alpn);

// The memory of written steps, for the next ones: their buffers would be allocated and freed for every exchange.
// Owner: a worker. Thread: its own.
class SpareWrites {
 public:
  // As new, but for the capacity of its buffers.
  [[nodiscard]] PendingWrite take();
  // Empties `written`; what is too large or too much is freed.
  void give_back(std::vector<PendingWrite>& written);

 private:
  std::vector<PendingWrite> kept_;
};

struct BuilderContext {
  const KeyHasher& hasher;   // of the take's session; outlives the builder
  const Redactor& redactor;  // outlives the builder
  Take take;
  DigestMemo* digests = nullptr;  // of bodies seen lately; null: every body is copied and hashed
  SpareWrites* spares = nullptr;  // null: all memory is new
};

class RecordingBuilder {
 public:
  // `id` from ExchangeStore::allocate_id(), in the order requests begin. `head` is copied, unredacted.
  RecordingBuilder(const BuilderContext& context, uint64_t id, int64_t started_unix_us, std::string_view scheme,
                   std::string_view host, uint16_t port, const http::RequestHead& head);

  // Body bytes of one side; `microseconds` since the exchange began. `chunk_extension` set = a chunk of the peer's
  // chunked coding begins here (empty when it has no extension).
  void body(BodySide side, std::string_view bytes, uint64_t microseconds,
            std::optional<std::string_view> chunk_extension = std::nullopt);
  void informational(const http::ResponseHead& head);
  void response(const http::ResponseHead& head);
  void trailers(BodySide side, const http::Headers& fields);
  // A message whose payload is `length` bytes of that side's body ending at its current end, or further back.
  void message(const Message& message) { recording_.messages.push_back(message); }
  // The same with its payload, which is appended to that side's body but is no part of the key (WebSocket); `offset`
  // and `length` are filled in.
  void message(Message message, std::string_view payload);
  // Makes writes of all that no write has yet, so that a crash leaves it: for exchanges that live long and come in
  // messages, or slowly. Costs the store a row each time; the caller says how often. `key`: what it is found by if that
  // is left; null: key_builder().
  void checkpoint(const KeyBuilder* key = nullptr);
  // A crash leaves that many bytes of the bodies, and the head.
  [[nodiscard]] bool is_saved(uint64_t request, uint64_t response) const {
    return begun_ && saved_[0] >= request && saved_[1] >= response;
  }
  // Bytes of that side's body so far.
  [[nodiscard]] uint64_t body_size(BodySide side) const {
    return (side == BodySide::Request ? recording_.request_body : recording_.response_body).size;
  }
  // Further key dimensions (KeyBuilder::dimension) and provenance may be set any time before finish().
  [[nodiscard]] KeyBuilder& key_builder() { return key_; }
  [[nodiscard]] Provenance& provenance() { return recording_.provenance; }
  // Part of an older take, in place of the context's. Before finish().
  void extend(uint64_t take) { recording_.take = take; }
  void client_alpn(AlpnChoice choice) { alpn_ = std::move(choice); }
  [[nodiscard]] uint64_t id() const { return recording_.id; }
  // Writes of it were handed out before its end.
  [[nodiscard]] bool is_begun() const { return begun_; }

  // Ends it; call once. Afterwards take_writes() yields the rest and recording() is the redacted whole.
  void finish(Outcome outcome);
  // The other end: nothing of it is to be kept. Call once instead of finish(); take_writes() yields what takes back the
  // writes already handed over.
  void abandon();
  // Moves ready writes to the end of `out`; submit them in this order.
  void take_writes(std::vector<PendingWrite>& out);
  [[nodiscard]] bool has_writes() const { return !ready_.empty(); }
  [[nodiscard]] const Recording& recording() const { return recording_; }
  [[nodiscard]] const RedactionCounts& redactions() const { return redactions_; }

 private:
  void address(PendingWrite& write) const noexcept;  // says whose it is
  [[nodiscard]] PendingWrite new_write(PendingWrite::Step step) const;
  void append(BodySide side, std::string_view bytes);
  void flush_segment(BodySide side);
  void mark(KeyBuilder key);
  void begin();
  [[nodiscard]] BodyRef& body_of(BodySide side);
  void own(BodySide side);  // its bytes are in partial_ from here on

  BuilderContext context_;
  Recording recording_;
  KeyBuilder key_;
  std::string partial_[2];    // bytes of the unfinished segment, by side
  HashedBody shared_[2];      // the whole body so far, in place of partial_, when the memo knew it
  uint64_t flushed_[2] = {};  // bytes of each body that are in segments
  uint64_t saved_[2] = {};    // bytes of each body that are in a segment or a journal entry
  size_t saved_messages_ = 0;
  Key marked_{};  // what the begun recording is found by
  std::vector<PendingWrite> ready_;
  RedactionCounts redactions_;
  std::optional<AlpnChoice> alpn_;
  uint32_t parts_ = 0;
  BodySide last_side_ = BodySide::Request;  // whose piece, or head, passed last
  bool begun_ = false;
  bool finished_ = false;
};

}  // namespace tapdeck::store

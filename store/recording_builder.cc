#include "store/recording_builder.h"

#include <algorithm>
#include <utility>

#include "daemon/base/ascii.h"
#include "store/journal.h"
#include "store/record_codec.h"

namespace tapdeck::store {
namespace {

constexpr uint64_t kMergeMicroseconds = 1000;
// 64 K entries of 64 bytes are 4 MiB a body at worst; beyond it portions merge and only their sum is kept.
constexpr size_t kTimelineEntries = 65536;
// From here a checkpoint writes a segment of its own instead of a journal entry.
constexpr uint64_t kJournalBytes = 64 * 1024;
// A body of this length may well become a segment: its memory is taken once instead of doubled.
constexpr size_t kSegmentLikely = 32 * 1024;
// Spare writes: the exchanges a busy worker has open at a time, 256 KiB at most.
constexpr size_t kSpareWrites = 64;
constexpr size_t kSpareWriteBytes = 4096;

// `follows_own`: nothing of the other side passed since its last piece.
void extend_timeline(BodyRef& body, size_t bytes, uint64_t microseconds,
                     const std::optional<std::string_view>& chunk_extension, bool follows_own) {
  auto& timeline = body.timeline;
  const bool full = timeline.size() >= kTimelineEntries;
  if (chunk_extension && !full) {
    timeline.push_back({Chunk::Kind::H1Chunk, body.size, bytes, microseconds, std::string(*chunk_extension)});
    return;
  }
  if (bytes == 0) return;
  // A piece without a chunk start continues the chunk it is in; a plain piece joins a neighbour of the same
  // millisecond, unless the other side spoke between them: who waited for whom must stay known.
  const bool is_near =
      follows_own && !timeline.empty() && microseconds - timeline.back().microseconds < kMergeMicroseconds;
  const bool joins = !timeline.empty() && (full || timeline.back().kind == Chunk::Kind::H1Chunk || is_near);
  if (joins) {
    timeline.back().length += bytes;
  } else {
    timeline.push_back({Chunk::Kind::Arrival, body.size, bytes, microseconds, {}});
  }
}

// Keeps the memory of its strings.
void clear(OriginFacts& facts) {
  for (std::string* text : {&facts.alpn, &facts.tls_version, &facts.verify_failure, &facts.peer_certificate_sha256})
    text->clear();
  facts.is_of_offer = false;
}

}  // namespace

size_t PendingWrite::memory() const {
  size_t total = sizeof(PendingWrite) + encoded.size() + references.size() * sizeof(Digest);
  for (const auto& blob : blobs) total += sizeof(Blob) + blob.bytes->size();
  return total;
}

PendingWrite origin_write(const Take& take, std::string_view host, uint16_t port, OriginFacts facts, AlpnChoice alpn) {
  PendingWrite write;
  write.step = PendingWrite::Step::Origin;
  write.session_number = take.session_number;
  write.take = take.number;
  write.host = lowered(host);
  write.port = port;
  write.origin = std::move(facts);
  write.alpn = std::move(alpn);
  return write;
}

PendingWrite SpareWrites::take() {
  PendingWrite write;
  if (kept_.empty()) return write;
  PendingWrite& old = kept_.back();
  write.encoded = std::move(old.encoded);
  write.encoded.clear();
  write.blobs = std::move(old.blobs);
  write.references = std::move(old.references);
  write.references.clear();
  write.host = std::move(old.host);
  write.host.clear();
  write.origin = std::move(old.origin);
  clear(write.origin);
  kept_.pop_back();
  return write;
}

void SpareWrites::give_back(std::vector<PendingWrite>& written) {
  for (PendingWrite& write : written) {
    if (kept_.size() >= kSpareWrites) break;
    if (write.encoded.capacity() + write.references.capacity() * sizeof(Digest) > kSpareWriteBytes) continue;
    write.blobs.clear();  // bodies are not held on to
    kept_.push_back(std::move(write));
  }
  written.clear();
}

RecordingBuilder::RecordingBuilder(const BuilderContext& context, uint64_t id, int64_t started_unix_us,
                                   std::string_view scheme, std::string_view host, uint16_t port,
                                   const http::RequestHead& head)
    : context_(context), key_(context.hasher, scheme, host, port, key_method(head), head.target) {
  recording_.id = id;
  recording_.session = context.take.session;
  recording_.take = context.take.number;
  recording_.started_unix_us = started_unix_us;
  recording_.scheme = scheme;
  recording_.host = lowered(host);
  recording_.port = port;
  recording_.request = head;
}

// noexcept: finish() gets no further way out, and stays the function that the recorded profile knows.
void RecordingBuilder::address(PendingWrite& write) const noexcept {
  write.session_number = context_.take.session_number;
  write.take = recording_.take;
  write.id = recording_.id;
}

PendingWrite RecordingBuilder::new_write(PendingWrite::Step step) const {
  PendingWrite write;
  write.step = step;
  address(write);
  return write;
}

BodyRef& RecordingBuilder::body_of(BodySide side) {
  return side == BodySide::Request ? recording_.request_body : recording_.response_body;
}

void RecordingBuilder::body(BodySide side, std::string_view bytes, uint64_t microseconds,
                            std::optional<std::string_view> chunk_extension) {
  if (side == BodySide::Request) key_.body(bytes);
  const bool follows_own = std::exchange(last_side_, side) == side;
  extend_timeline(body_of(side), bytes.size(), microseconds, chunk_extension, follows_own);
  append(side, bytes);
}

void RecordingBuilder::append(BodySide side, std::string_view bytes) {
  if (bytes.empty()) return;
  const auto index = static_cast<size_t>(side);
  const bool is_first = body_of(side).size == 0;
  body_of(side).size += bytes.size();
  if (is_first && bytes.size() > kInlineBodyBytes && context_.digests != nullptr) {
    if (const HashedBody* known = context_.digests->find(bytes)) {
      shared_[index] = *known;
      return;
    }
  }
  own(side);
  std::string& partial = partial_[index];
  if (partial.size() + bytes.size() > kSegmentLikely) partial.reserve(kSegmentBytes);
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kSegmentBytes - partial.size());
    partial.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (partial.size() < kSegmentBytes) continue;
    if (!begun_) begin();
    flush_segment(side);
  }
}

// More came than the body that was known, or it must be written before its end.
void RecordingBuilder::own(BodySide side) {
  HashedBody& shared = shared_[static_cast<size_t>(side)];
  if (shared.bytes == nullptr) return;
  partial_[static_cast<size_t>(side)] = *shared.bytes;
  shared = {};
}

void RecordingBuilder::message(Message message, std::string_view payload) {
  message.offset = body_size(message.side);
  message.length = payload.size();
  recording_.messages.push_back(message);
  append(message.side, payload);
}

void RecordingBuilder::checkpoint(const KeyBuilder* key) {
  if (finished_) return;
  const KeyBuilder& found_by = key != nullptr ? *key : key_;
  // Again when the key has changed: more of the request is known by now.
  if (!begun_ || KeyBuilder(found_by).key() != marked_) mark(found_by);
  JournalEntry entry;
  for (const BodySide side : {BodySide::Request, BodySide::Response}) {
    own(side);
    const auto index = static_cast<size_t>(side);
    const std::string& partial = partial_[index];
    entry.offset[index] = saved_[index];
    // Much at once is written where it stays; a little is written again with the segment it will be part of.
    if (body_size(side) - entry.offset[index] >= kJournalBytes) {
      flush_segment(side);
    } else {
      entry.bytes[index] = partial.substr(static_cast<size_t>(saved_[index] - flushed_[index]));
    }
    saved_[index] = body_size(side);
  }
  entry.messages.assign(recording_.messages.begin() + static_cast<ptrdiff_t>(saved_messages_),
                        recording_.messages.end());
  saved_messages_ = recording_.messages.size();
  if (entry.messages.empty() && entry.bytes[0].empty() && entry.bytes[1].empty()) return;
  PendingWrite write = new_write(PendingWrite::Step::Journal);
  write.part = parts_++;
  encode_journal(entry, write.encoded);
  ready_.push_back(std::move(write));
}

void RecordingBuilder::informational(const http::ResponseHead& head) {
  recording_.informational.push_back(head);
}

void RecordingBuilder::response(const http::ResponseHead& head) {
  recording_.response = head;
  last_side_ = BodySide::Response;
  // The mark written for a long request body knew no response yet: replace it by one that does.
  if (begun_) begin();
}

void RecordingBuilder::trailers(BodySide side, const http::Headers& fields) {
  (side == BodySide::Request ? recording_.request_trailers : recording_.response_trailers) = fields;
}

// Writes what is known so far, so that a crash leaves a prefix. Bodies follow as segments of their own, messages and
// what is no segment yet in the journal.
void RecordingBuilder::mark(KeyBuilder key) {
  begun_ = true;
  Recording sofar = recording_;
  sofar.key = key.key();
  marked_ = sofar.key;
  sofar.request_body_digest = key.parts().body_digest;
  sofar.dimensions = key.parts().dimensions;
  sofar.request_body = {};
  sofar.response_body = {};
  sofar.messages.clear();
  sofar.outcome = {Outcome::Kind::Incomplete, 0, "crash"};
  ignore(context_.redactor.redact(sofar), "counted once, by finish()");
  PendingWrite write = new_write(PendingWrite::Step::Begin);
  write.key = sofar.key;
  write.started_unix_us = recording_.started_unix_us;
  encode_record(sofar, write.encoded);
  ready_.push_back(std::move(write));
}

void RecordingBuilder::begin() {
  mark(key_);
  // A request of less than a segment belongs to the prefix as soon as its response is what makes the recording long.
  own(BodySide::Request);
  if (recording_.response.status != 0 && !partial_[0].empty()) flush_segment(BodySide::Request);
}

void RecordingBuilder::flush_segment(BodySide side) {
  std::string& partial = partial_[static_cast<size_t>(side)];
  PendingWrite write = new_write(PendingWrite::Step::Segment);
  write.request_side = side == BodySide::Request;
  write.part = parts_++;
  HashedBody body = hashed(std::exchange(partial, {}));
  const Segment segment{body.digest, body.bytes->size()};
  body_of(side).segments.push_back(segment);
  const auto index = static_cast<size_t>(side);
  flushed_[index] += segment.size;
  saved_[index] = std::max(saved_[index], flushed_[index]);
  write.blobs.push_back({segment, std::move(body.bytes)});
  ready_.push_back(std::move(write));
}

void RecordingBuilder::finish(Outcome outcome) {
  if (finished_) return;
  finished_ = true;
  recording_.outcome = std::move(outcome);
  recording_.key = key_.key();
  recording_.request_body_digest = key_.parts().body_digest;
  recording_.dimensions = key_.parts().dimensions;
  PendingWrite write = context_.spares != nullptr ? context_.spares->take() : PendingWrite{};
  for (const BodySide side : {BodySide::Request, BodySide::Response}) {
    std::string& partial = partial_[static_cast<size_t>(side)];
    HashedBody& last = shared_[static_cast<size_t>(side)];
    BodyRef& body = body_of(side);
    if (body.segments.empty() && last.bytes == nullptr && partial.size() <= kInlineBodyBytes) {
      body.inline_bytes = std::move(partial);
    } else if (!partial.empty()) {
      last = context_.digests != nullptr ? context_.digests->keep(std::move(partial)) : hashed(std::move(partial));
    }
    if (last.bytes != nullptr) {
      body.segments.push_back({last.digest, last.bytes->size()});
      write.blobs.push_back({body.segments.back(), std::move(last.bytes)});
    }
    for (const auto& segment : body.segments) write.references.push_back(segment.digest);
    write.body_bytes += body.size;
  }
  redactions_ = context_.redactor.redact(recording_);
  write.rank = replay_rank_of(recording_);
  write.was_begun = begun_;
  address(write);
  write.started_unix_us = recording_.started_unix_us;
  write.key = recording_.key;
  write.host = recording_.host;
  write.port = recording_.port;
  const auto& provenance = recording_.provenance;
  if (recording_.scheme == "https") {
    write.origin.alpn = provenance.upstream_alpn;
    write.origin.tls_version = provenance.tls_version;
    write.origin.verify_failure = provenance.upstream_verify_failure;
    write.origin.peer_certificate_sha256 = provenance.peer_certificate_sha256;
    write.alpn = std::move(alpn_);
  }
  encode_record(recording_, write.encoded);
  ready_.push_back(std::move(write));
}

void RecordingBuilder::abandon() {
  if (finished_) return;
  finished_ = true;
  ready_.clear();  // not handed over yet
  if (!begun_) return;
  PendingWrite write = new_write(PendingWrite::Step::Abandon);
  write.was_begun = true;
  for (const BodySide side : {BodySide::Request, BodySide::Response}) {
    for (const auto& segment : body_of(side).segments) write.references.push_back(segment.digest);
  }
  ready_.push_back(std::move(write));
}

void RecordingBuilder::take_writes(std::vector<PendingWrite>& out) {
  if (out.empty()) return out.swap(ready_);
  for (auto& write : ready_) out.push_back(std::move(write));
  ready_.clear();
}

}  // namespace tapdeck::store

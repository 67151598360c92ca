#include "store/recording_builder.h"

#include <utility>

#include "store/record_codec.h"

namespace tapdeck::store {
namespace {

constexpr uint64_t kMergeMicroseconds = 1000;
// 64 K entries of 64 bytes are 4 MiB a body at worst; beyond it portions merge and only their sum is kept.
constexpr size_t kTimelineEntries = 65536;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

void extend_timeline(BodyRef& body, size_t bytes, uint64_t microseconds,
                     const std::optional<std::string_view>& chunk_extension) {
  auto& timeline = body.timeline;
  const bool full = timeline.size() >= kTimelineEntries;
  if (chunk_extension && !full) {
    timeline.push_back({Chunk::Kind::H1Chunk, body.size, bytes, microseconds, std::string(*chunk_extension)});
    return;
  }
  if (bytes == 0) return;
  // A piece without a chunk start continues the chunk it is in; a plain piece joins a neighbour of the same
  // millisecond.
  const bool joins = !timeline.empty() && (full || timeline.back().kind == Chunk::Kind::H1Chunk ||
                                           microseconds - timeline.back().microseconds < kMergeMicroseconds);
  if (joins) {
    timeline.back().length += bytes;
  } else {
    timeline.push_back({Chunk::Kind::Arrival, body.size, bytes, microseconds, {}});
  }
}

}  // namespace

size_t PendingWrite::memory() const {
  size_t total = sizeof(PendingWrite) + encoded.size() + references.size() * sizeof(Digest);
  for (const auto& blob : blobs) total += sizeof(Blob) + blob.bytes.size();
  return total;
}

RecordingBuilder::RecordingBuilder(const BuilderContext& context, uint64_t id, int64_t started_unix_us,
                                   std::string_view scheme, std::string_view host, uint16_t port,
                                   const http::RequestHead& head)
    : context_(context), key_(context.hasher, scheme, host, port, head.method, head.target) {
  recording_.id = id;
  recording_.session = context.take.session;
  recording_.take = context.take.number;
  recording_.started_unix_us = started_unix_us;
  recording_.scheme = scheme;
  recording_.host = lower(host);
  recording_.port = port;
  recording_.request = head;
}

BodyRef& RecordingBuilder::body_of(BodySide side) {
  return side == BodySide::Request ? recording_.request_body : recording_.response_body;
}

void RecordingBuilder::body(BodySide side, std::string_view bytes, uint64_t microseconds,
                            std::optional<std::string_view> chunk_extension) {
  if (side == BodySide::Request) key_.body(bytes);
  BodyRef& body = body_of(side);
  extend_timeline(body, bytes.size(), microseconds, chunk_extension);
  body.size += bytes.size();
  std::string& partial = partial_[static_cast<size_t>(side)];
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kSegmentBytes - partial.size());
    partial.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (partial.size() < kSegmentBytes) continue;
    if (!begun_) begin();
    flush_segment(side);
  }
}

void RecordingBuilder::informational(const http::ResponseHead& head) {
  recording_.informational.push_back(head);
}

void RecordingBuilder::response(const http::ResponseHead& head) {
  recording_.response = head;
  // The mark written for a long request body knew no response yet: replace it by one that does.
  if (begun_) begin();
}

void RecordingBuilder::trailers(BodySide side, const http::Headers& fields) {
  (side == BodySide::Request ? recording_.request_trailers : recording_.response_trailers) = fields;
}

// Writes what is known so far, so that a crash leaves a prefix. Bodies follow as segments of their own.
void RecordingBuilder::begin() {
  begun_ = true;
  Recording sofar = recording_;
  KeyBuilder key = key_;
  sofar.key = key.key();
  sofar.request_body_digest = key.parts().body_digest;
  sofar.dimensions = key.parts().dimensions;
  sofar.request_body = {};
  sofar.response_body = {};
  sofar.outcome = {Outcome::Kind::Incomplete, 0, "crash"};
  ignore(context_.redactor.redact(sofar), "counted once, by finish()");
  PendingWrite write;
  write.step = PendingWrite::Step::Begin;
  write.session_number = context_.take.session_number;
  write.take = recording_.take;
  write.id = recording_.id;
  write.key = sofar.key;
  write.started_unix_us = recording_.started_unix_us;
  encode_record(sofar, write.encoded);
  ready_.push_back(std::move(write));
  // A request of less than a segment belongs to the prefix as soon as its response is what makes the recording long.
  if (recording_.response.status != 0 && !partial_[0].empty()) flush_segment(BodySide::Request);
}

void RecordingBuilder::flush_segment(BodySide side) {
  std::string& partial = partial_[static_cast<size_t>(side)];
  PendingWrite write;
  write.step = PendingWrite::Step::Segment;
  write.request_side = side == BodySide::Request;
  write.session_number = context_.take.session_number;
  write.take = recording_.take;
  write.id = recording_.id;
  write.part = parts_++;
  const Segment segment{content_digest(partial), partial.size()};
  body_of(side).segments.push_back(segment);
  write.blobs.push_back({segment, std::exchange(partial, {})});
  ready_.push_back(std::move(write));
}

void RecordingBuilder::finish(Outcome outcome) {
  if (finished_) return;
  finished_ = true;
  recording_.outcome = std::move(outcome);
  recording_.key = key_.key();
  recording_.request_body_digest = key_.parts().body_digest;
  recording_.dimensions = key_.parts().dimensions;
  PendingWrite write;
  for (const BodySide side : {BodySide::Request, BodySide::Response}) {
    std::string& partial = partial_[static_cast<size_t>(side)];
    BodyRef& body = body_of(side);
    if (body.segments.empty() && partial.size() <= kInlineBodyBytes) {
      body.inline_bytes = std::move(partial);
    } else if (!partial.empty()) {
      body.segments.push_back({content_digest(partial), partial.size()});
      write.blobs.push_back({body.segments.back(), std::move(partial)});
    }
    for (const auto& segment : body.segments) write.references.push_back(segment.digest);
    write.body_bytes += body.size;
  }
  redactions_ = context_.redactor.redact(recording_);
  write.finished = recording_.outcome.kind != Outcome::Kind::Incomplete;
  write.was_begun = begun_;
  write.session_number = context_.take.session_number;
  write.take = recording_.take;
  write.id = recording_.id;
  write.started_unix_us = recording_.started_unix_us;
  write.key = recording_.key;
  write.host = recording_.host;
  write.port = recording_.port;
  const auto& provenance = recording_.provenance;
  if (recording_.scheme == "https") {
    write.origin = {provenance.upstream_alpn, provenance.tls_version, provenance.upstream_verify_failure,
                    provenance.peer_certificate_sha256};
  }
  encode_record(recording_, write.encoded);
  ready_.push_back(std::move(write));
}

void RecordingBuilder::take_writes(std::vector<PendingWrite>& out) {
  for (auto& write : ready_) out.push_back(std::move(write));
  ready_.clear();
}

}  // namespace tapdeck::store

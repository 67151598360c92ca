#include "daemon/modes/turns.h"

#include <algorithm>

namespace tapdeck::modes {
namespace {

// How many requests that differ in their body alone are looked at, and how much may come before the head.
constexpr size_t kBeginnings = 64;
constexpr uint64_t kBeforeHead = 1 << 20;

// Of the last piece of the response.
uint64_t moment_of_last(const store::Recording& recording) {
  const auto& timeline = recording.response_body.timeline;
  return timeline.empty() ? 0 : timeline.back().microseconds;
}

// Pieces of the request behind the head of the answer, and before `until`.
bool goes_on(const store::Recording& recording, uint64_t until) {
  const uint64_t head = moment_of_head(recording);
  const bool is_of_origin = recording.response.status != 0 && recording.outcome.kind != store::Outcome::Kind::Failed;
  if (!is_of_origin || head == 0) return false;  // 0: not known
  return std::ranges::any_of(recording.request_body.timeline, [&](const store::Chunk& piece) {
    return piece.microseconds > head && piece.microseconds < until;
  });
}

// As far as it decides what the body is.
bool is_same_head(const Sent& sent, const http::ResponseHead& head) {
  return sent.status == head.status && sent.length == value_of(head, "content-length") &&
         sent.coding == value_of(head, "content-encoding");
}

bool differs_in_body_alone(const store::Nearest& near) {
  return std::ranges::all_of(near.differs, [](const store::Difference& one) { return one.where == "body"; });
}

Result<store::Recording> get(const store::ExchangeStore& store, std::string_view session, uint64_t id) {
  auto own = store.get(session, id);
  return own ? std::move(own) : store.get(session, id | store::ExchangeStore::kOlder);
}

// The body begins with `size` bytes of this keyed digest.
bool begins_with(const store::ExchangeStore& store, const store::BodyRef& body, const store::KeyHasher& hasher,
                 const store::Digest& digest, uint64_t size) {
  if (size > body.size) return false;
  if (size == 0) return true;
  store::Sha256 sha = hasher.begin();
  uint64_t left = size;
  auto read = store.read_body(body, [&](std::string_view bytes) {
    const std::string_view part = bytes.substr(0, left);
    sha.update(part);
    left -= part.size();
    return left > 0;
  });
  return read && left == 0 && hasher.finish(sha) == digest;
}

}  // namespace

std::string value_of(const http::ResponseHead& head, std::string_view field) {
  return std::string(head.headers.find(field).value_or(""));
}

uint64_t moment_of_head(const store::Recording& recording) {
  const store::Timings& timings = recording.provenance.timings;
  return std::max(timings.first_byte, timings.head);
}

Said said_by(const store::Recording& recording, uint64_t microseconds) {
  SaidSoFar said;
  return said.by(recording, microseconds);
}

const Said& SaidSoFar::by(const store::Recording& recording, uint64_t microseconds) {
  const auto& timeline = recording.request_body.timeline;
  for (; next_ < timeline.size() && timeline[next_].microseconds <= microseconds; ++next_) {
    said_ = {timeline[next_].offset + timeline[next_].length, timeline[next_].length == 0};
  }
  return said_;
}

bool took_turns(const store::Recording& recording) {
  return goes_on(recording, moment_of_last(recording));
}

bool may_have_taken_turns(const store::Recording& recording) {
  const bool is_open = !recording.response.headers.find("content-length");
  const bool is_taken = recording.response.status >= 200 && recording.response.status < 300;
  return is_open || is_taken ? goes_on(recording, UINT64_MAX) : took_turns(recording);
}

bool goes_on_from(const store::ExchangeStore& store, const store::Recording& recording, const store::KeyHasher& hasher,
                  const Progress& progress) {
  const auto& [said, ended, sent] = progress;
  if (sent.status != 0 && !is_same_head(sent, recording.response)) return false;
  if (ended && said.body_size != recording.request_body.size) return false;
  return begins_with(store, recording.request_body, hasher, said.body_digest, said.body_size) &&
         begins_with(store, recording.response_body, hasher, sent.digest, sent.bytes);
}

Beginnings that_begin_so(const store::ExchangeStore& store, std::string_view session, const store::KeyHasher& hasher,
                         const Progress& progress, Answers answers) {
  Beginnings out;
  store::KeyParts said = progress.said;
  said.body_size = 0;  // how long it will be is not known: all lengths are as near
  const auto nearest = store.nearest(session, said, kBeginnings);
  if (!nearest) return out;
  // Perhaps among those that were not looked at.
  out.others = nearest->size() == kBeginnings && differs_in_body_alone(nearest->back());
  for (const store::Nearest& near : *nearest) {
    if (!differs_in_body_alone(near)) continue;
    const auto recording = get(store, session, near.id);
    if (!recording) continue;
    if (answers == Answers::Complete && recording->outcome.kind != store::Outcome::Kind::Complete) continue;
    if (!goes_on_from(store, *recording, hasher, progress)) continue;
    const bool in_turns =
        may_have_taken_turns(*recording) && said_by(*recording, moment_of_head(*recording)).bytes <= kBeforeHead;
    if (in_turns) out.in_turns.push_back(recording->key);
    if (!in_turns) out.others = true;
  }
  return out;
}

}  // namespace tapdeck::modes

#include "daemon/http/h2_guard.h"

#include <algorithm>

namespace tapdeck::http {

namespace {

// Frame types and flags of RFC 9113 section 6.
enum : uint8_t { kData, kHeaders, kPriority, kRstStream, kSettings, kPushPromise, kPing, kGoaway, kWindowUpdate };
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;

// Streams we reset whose frames may still be on their way: twice as many as a peer may have open, and these at least.
constexpr size_t kResetMemory = 512;
// Nobody skips ids in earnest; what is forgotten counts as closed.
constexpr size_t kGaps = 8;
constexpr uint64_t kMaxTokens = 100000;
// Answers to a client that reads none of them: 85 KB.
constexpr uint64_t kMaxPings = 5000;
// Credit for a DATA frame that was as long as we wanted.
constexpr uint64_t kWindowsAFrame = 10;
// Of a rapid reset the stream is gone with the next packet. Streams held this long may be reset as many a second as may
// be open at a time, these at least, and twice as many at once: all calls of a client that pass one deadline after the
// other, but not ten full sets of streams a second for ever.
constexpr std::chrono::milliseconds kGivenTime{100};
constexpr size_t kGivenStreams = 1000;

H2Budget given_budget(size_t streams) {
  const auto base = static_cast<uint32_t>(std::max(streams, kGivenStreams));
  return {.burst = 2 * base, .per_second = base};
}

constexpr std::string_view kClosedDetail = "a frame on a closed stream";

H2Guard::Fault calm(H2Abuse abuse, std::string_view detail) {
  return {ResetCode::EnhanceYourCalm, detail, abuse};
}

}  // namespace

bool H2Bucket::take(SteadyTime now) {
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - filled_).count();
  const uint64_t more = elapsed > 0 ? static_cast<uint64_t>(elapsed) * budget_.per_second / 1000 : 0;
  if (more > 0) {
    filled_ = now;
    if (tokens_ < budget_.burst) tokens_ = std::min<uint64_t>(budget_.burst, tokens_ + more);
  }
  if (tokens_ == 0) return false;
  --tokens_;
  return true;
}

void H2Bucket::earn(uint64_t n) {
  earn(n, kMaxTokens);
}

void H2Bucket::earn(uint64_t n, uint64_t most) {
  tokens_ = std::max(tokens_, std::min(most, tokens_ + n));
}

H2FrameHeader H2FrameHeader::parse(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  return {.length = at(0) << 16 | at(1) << 8 | at(2),
          .type = static_cast<uint8_t>(at(3)),
          .flags = static_cast<uint8_t>(at(4)),
          .stream = (at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8)) & 0x7fffffff};
}

H2Guard::H2Guard(Role role, const H2Budgets& budgets, size_t block_bytes, const Clock* clock, size_t streams)
    : role_(role),
      clock_(clock),
      continuations_limit_(budgets.continuations),
      block_limit_(block_bytes),
      reset_memory_(std::max(kResetMemory, 2 * streams)),
      resets_(budgets.resets, now()),
      given_resets_(given_budget(streams), now()),
      server_resets_(budgets.server_resets, now()),
      settings_(budgets.settings, now()),
      pings_(budgets.pings, now()),
      priorities_(budgets.priorities, now()),
      empty_(budgets.empty, now()),
      windows_(budgets.windows, now()) {}

std::optional<H2Guard::Fault> H2Guard::judge(const H2FrameHeader& frame) {
  if (block_stream_ != 0 || frame.type == kContinuation) return continuation(frame);
  switch (frame.type) {
    case kData:
      if (frame.length == 0 && (frame.flags & kEndStream) == 0) {
        if (auto fault = empty()) return fault;
      } else if (frame.length > 0) {
        empty_.refill(1);
      }
      return closed_stream(frame);
    case kHeaders:
      return headers(frame);
    case kRstStream:
      if (role_ == Role::Server && !(had_time(frame.stream) ? given_resets_ : resets_).take(now()))
        return calm(H2Abuse::RapidReset, "streams reset too often");
      return std::nullopt;
    case kSettings:
      if ((frame.flags & kAck) == 0 && !settings_.take(now())) return calm(H2Abuse::SettingsFlood, "too many SETTINGS");
      return std::nullopt;
    case kPing:
      if ((frame.flags & kAck) == 0 && !pings_.take(now())) return calm(H2Abuse::PingFlood, "too many PINGs");
      return std::nullopt;
    case kWindowUpdate:
      if (!windows_.take(now())) return calm(H2Abuse::WindowGames, "windows opened in crumbs");
      return std::nullopt;
    case kPushPromise:
    case kGoaway:
      return std::nullopt;
    default:  // PRIORITY and what nobody has defined yet
      if (!priorities_.take(now())) return calm(H2Abuse::PriorityFlood, "too many frames that say nothing");
      return std::nullopt;
  }
}

std::optional<H2Guard::Fault> H2Guard::headers(const H2FrameHeader& frame) {
  block_frames_ = 0;
  block_bytes_ = frame.length;
  if ((frame.flags & kEndHeaders) == 0) {
    block_stream_ = frame.stream;
    if (frame.length == 0) {
      if (auto fault = empty()) return fault;
    }
  }
  if (role_ == Role::Client || frame.stream % 2 == 0) return closed_stream(frame);
  switch (seen(frame.stream)) {
    case Seen::New:
      begin_stream(frame.stream);
      priorities_.earn(4);
      windows_.refill(2);
      empty_.refill(1);
      return std::nullopt;
    case Seen::Skipped:  // RFC 9113 5.1.1: using a higher id closed it before it was ever open
      return Fault{ResetCode::ProtocolError, "a stream id lower than one before it", std::nullopt};
    default:
      return closed_stream(frame);
  }
}

// Inside a header block nothing but its CONTINUATION may come (RFC 9113 6.10); nghttp2 says so, so only volume counts.
std::optional<H2Guard::Fault> H2Guard::continuation(const H2FrameHeader& frame) {
  if (block_stream_ == 0 || frame.type != kContinuation || frame.stream != block_stream_) {
    return Fault{ResetCode::ProtocolError, "a frame inside another stream's header block, or a CONTINUATION of none",
                 std::nullopt};
  }
  block_bytes_ += frame.length;
  if (frame.length == 0 && (frame.flags & kEndHeaders) == 0) {
    if (auto fault = empty()) return fault;
  }
  if (++block_frames_ > continuations_limit_ || block_bytes_ > block_limit_) {
    return calm(H2Abuse::ContinuationFlood, "a header block without end");
  }
  if ((frame.flags & kEndHeaders) != 0) block_stream_ = 0;
  return std::nullopt;
}

std::optional<H2Guard::Fault> H2Guard::empty() {
  if (empty_.take(now())) return std::nullopt;
  return calm(H2Abuse::EmptyFrames, "too many empty frames");
}

// DATA or HEADERS where none may come any more. Idle streams are nghttp2's to refuse.
std::optional<H2Guard::Fault> H2Guard::closed_stream(const H2FrameHeader& frame) {
  switch (seen(frame.stream)) {
    case Seen::Closed:
      return Fault{ResetCode::StreamClosed, kClosedDetail, std::nullopt};
    case Seen::Skipped:
      return Fault{ResetCode::ProtocolError, "a frame on a stream that was passed over", std::nullopt};
    default:
      return std::nullopt;
  }
}

H2Guard::Seen H2Guard::seen(StreamId stream) const {
  // We open the odd ones as a client, the peer does towards a server; the even ones would be pushed, which we forbid.
  if (stream == 0 || stream % 2 == 0) return Seen::New;
  if (stream > refuse_above_) return Seen::Refused;
  if (stream > highest_) return Seen::New;
  if (std::ranges::binary_search(open_, stream, {}, &Open::id)) return Seen::Open;
  if (std::find(reset_.rbegin(), reset_.rend(), stream) != reset_.rend()) return Seen::ResetByUs;
  for (const auto& [first, last] : skipped_) {
    if (stream >= first && stream <= last) return Seen::Skipped;
  }
  return Seen::Closed;
}

H2Guard::Open* H2Guard::open(StreamId stream) {
  const auto at = std::ranges::lower_bound(open_, stream, {}, &Open::id);
  return at != open_.end() && at->id == stream ? &*at : nullptr;
}

bool H2Guard::had_time(StreamId stream) {
  Open* known = open(stream);
  if (known == nullptr || now() - known->since < kGivenTime) return false;
  known->since = now();  // once
  return true;
}

void H2Guard::begin_stream(StreamId stream) {
  const StreamId next = highest_ == 0 ? 1 : highest_ + 2;
  if (stream > next) {
    if (skipped_.size() == kGaps) skipped_.erase(skipped_.begin());
    skipped_.emplace_back(next, stream - 2);
  }
  highest_ = stream;
  open_.push_back({stream, now()});
}

void H2Guard::opened(StreamId stream) {
  highest_ = stream;
  open_.push_back({stream, {}});
}

void H2Guard::closed(StreamId stream) {
  if (const Open* known = open(stream)) open_.erase(open_.begin() + (known - open_.data()));
}

void H2Guard::reset(StreamId stream) {
  closed(stream);
  if (reset_.size() == reset_memory_) reset_.erase(reset_.begin());
  reset_.push_back(stream);
}

void H2Guard::refuse_above(StreamId last) {
  refuse_above_ = last;
}

void H2Guard::sent_data(size_t bytes) {
  sent_bytes_ += bytes;
  windows_.earn(sent_bytes_ / 1024);
  sent_bytes_ %= 1024;
  pings_.earn(1, kMaxPings);
}

void H2Guard::sent_all() {
  windows_.earn(kWindowsAFrame);
}

void H2Guard::exchange_ended() {
  resets_.earn(1);
  given_resets_.refill(1);
}

std::optional<H2Guard::Fault> H2Guard::made_us_reset() {
  if (server_resets_.take(now())) return std::nullopt;
  return calm(H2Abuse::ServerReset, "made us reset too many streams");
}

std::optional<H2Guard::Fault> H2Guard::refused() {
  if (resets_.take(now())) return std::nullopt;
  return calm(H2Abuse::RapidReset, "opened too many streams over the limit");
}

}  // namespace tapdeck::http

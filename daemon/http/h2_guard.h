// H2Guard: our own look at every HTTP/2 frame header before nghttp2 sees it. It closes what libnghttp2 1.52 leaves
// open: frames on closed streams (RFC 9113 5.1, ignored there) and floods of cheap frames (no glitch limiter
// before 1.67). docs/decisions/0015 has the reasons.
//
// It reads nine bytes a frame, never a payload, and keeps the ids of open streams, of streams we reset (the peer may
// not know yet) and of gaps in the peer's numbering. Everything else about frames is nghttp2's to judge. Owner:
// H2Codec. Thread: its Worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/http/codec.h"

namespace tapdeck::http {

// What a peer did too much of. Each has a metric; the codec only says so (H2Options::on_abuse).
enum class H2Abuse : uint8_t {
  RapidReset,         // CVE-2023-44487: streams opened and reset
  ServerReset,        // CVE-2025-8671, MadeYouReset: streams we had to reset because of what the peer sent
  ContinuationFlood,  // CVE-2024-27316, 28182: a header block in endless CONTINUATION frames
  SettingsFlood,      // CVE-2019-9515
  PingFlood,          // CVE-2019-9512
  PriorityFlood,      // CVE-2019-9513: PRIORITY and frames of unknown type
  Hpack,              // a header list of four times Limits.head_bytes
  EmptyFrames,        // CVE-2019-9518: frames without payload that end nothing
  WindowGames,        // CVE-2019-9511, 9517: WINDOW_UPDATE in crumbs
  HeaderCount,        // four times Limits.headers fields
};
inline constexpr size_t kH2AbuseKinds = 10;

// `burst` of them at once, `per_second` more with time. What else earns tokens stands with each use in h2_guard.cc.
struct H2Budget {
  uint32_t burst;
  uint32_t per_second;
};

struct H2Budgets {
  // Streams given up at once: a page of 100, five times over; each exchange that ends well earns one more. Streams
  // that were given time have a budget of their own (kGivenStreams): a call that passes its deadline is no rapid reset.
  H2Budget resets{500, 33};
  // Nobody who means well makes us reset streams in earnest.
  H2Budget server_resets{100, 10};
  H2Budget settings{50, 2};
  // gRPC measures its connection with a PING for what it reads: each DATA frame we send earns one.
  H2Budget pings{500, 50};
  // Priority trees of browsers: several frames a stream; each new stream earns four.
  H2Budget priorities{1000, 100};
  // Some flush what is not there: a new stream and a frame with payload each make up for one.
  H2Budget empty{100, 10};
  // Go sends one for each 4 KiB, for stream and connection: each KiB we send earns one. Others send both for each DATA
  // frame: a frame that no window of theirs cut short earns ten, as in Envoy. A new stream makes up for two.
  H2Budget windows{1000, 100};
  uint32_t continuations = 32;  // frames of one header block
};

class H2Bucket {
 public:
  H2Bucket(H2Budget budget, SteadyTime now) : budget_(budget), tokens_(budget.burst), filled_(now) {}
  // False: used up.
  [[nodiscard]] bool take(SteadyTime now);
  void earn(uint64_t n);
  void earn(uint64_t n, uint64_t most);  // never above `most`
  // Makes up for `n` that were taken.
  void refill(uint64_t n) { earn(n, budget_.burst); }

 private:
  H2Budget budget_;
  uint64_t tokens_;
  SteadyTime filled_;
};

struct H2FrameHeader {
  uint32_t length;
  uint8_t type;
  uint8_t flags;
  StreamId stream;

  static constexpr size_t kBytes = 9;
  // Exactly kBytes bytes.
  [[nodiscard]] static H2FrameHeader parse(std::string_view bytes);
};

class H2Guard {
 public:
  // Why the connection must end: the code of the GOAWAY.
  struct Fault {
    ResetCode code;
    std::string_view detail;
    std::optional<H2Abuse> abuse;
  };

  // `clock` fills budgets again; null: they are for the whole connection. `block_bytes`: compressed bytes of one header
  // block. `streams`: as many as may be open at a time.
  H2Guard(Role role, const H2Budgets& budgets, size_t block_bytes, const Clock* clock, size_t streams = 100);

  // The next frame's header, in order. nullopt: nghttp2 may have the frame.
  [[nodiscard]] std::optional<Fault> judge(const H2FrameHeader& frame);

  // ---- what the codec knows of streams
  void opened(StreamId stream);  // Role::Client: a request was sent
  void closed(StreamId stream);  // both sides ended, or the peer reset it
  void reset(StreamId stream);   // we reset it: what the peer still sends is no error (RFC 9113 5.1)
  // A final GOAWAY was sent: new streams above `last` are not ours any more, whatever comes on them.
  void refuse_above(StreamId last);

  // ---- what earns and costs beside frames
  void sent_data(size_t bytes);  // a DATA frame
  void sent_all();               // and with it all there was to send: no window had cut it short
  void exchange_ended();
  // We reset a stream for what the peer sent.
  [[nodiscard]] std::optional<Fault> made_us_reset();
  // One stream over the limit was refused.
  [[nodiscard]] std::optional<Fault> refused();

 private:
  enum class Seen { Open, ResetByUs, Skipped, Closed, New, Refused };
  struct Open {
    StreamId id;
    SteadyTime since;
  };
  [[nodiscard]] Seen seen(StreamId stream) const;
  [[nodiscard]] Open* open(StreamId stream);
  [[nodiscard]] bool had_time(StreamId stream);
  void begin_stream(StreamId stream);
  std::optional<Fault> headers(const H2FrameHeader& frame);
  std::optional<Fault> continuation(const H2FrameHeader& frame);
  std::optional<Fault> closed_stream(const H2FrameHeader& frame);
  std::optional<Fault> empty();
  [[nodiscard]] SteadyTime now() const { return clock_ != nullptr ? clock_->steady() : SteadyTime{}; }

  Role role_;
  const Clock* clock_;
  uint32_t continuations_limit_;
  size_t block_limit_;
  size_t reset_memory_;
  H2Bucket resets_, given_resets_, server_resets_, settings_, pings_, priorities_, empty_, windows_;

  std::vector<Open> open_;                              // by ascending id
  std::vector<StreamId> reset_;                         // oldest first, at most reset_memory_
  std::vector<std::pair<StreamId, StreamId>> skipped_;  // ids the peer passed over, first and last; at most kGaps
  StreamId highest_ = 0;
  StreamId refuse_above_ = UINT32_MAX;
  StreamId block_stream_ = 0;  // a header block is open; CONTINUATION must follow
  uint32_t block_frames_ = 0;
  size_t block_bytes_ = 0;
  size_t sent_bytes_ = 0;  // not yet earned for
};

}  // namespace tapdeck::http

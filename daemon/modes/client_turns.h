// ClientTurns: lets each piece of a recorded answer go when the client has said what it had said before it then.
//
// What the client says is compared with the tape as it comes. Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include <memory>
#include <string>

#include "daemon/modes/pace.h"
#include "daemon/modes/question.h"
#include "daemon/modes/replayed_request.h"
#include "daemon/modes/segment_reader.h"
#include "daemon/modes/turns.h"

namespace tapdeck::modes {

class ClientTurns final : public Gate {
 public:
  // The client has said `heard` so far, as recorded. What it says on goes to `asking`, and stays in `request`
  // until the answer begins. All must outlive it.
  ClientTurns(ReplayedRequest& request, Asking& asking, const store::Recording& recording, const Said& heard,
              SegmentReader reader)
      : request_(request),
        asking_(asking),
        recording_(recording),
        reader_(std::move(reader)),
        heard_(heard.bytes),
        ended_(heard.ended) {}

  net::Task<Result<void>> reach(exchange::Exchange& exchange, uint64_t microseconds) override;
  net::Task<Result<void>> reach_end(exchange::Exchange& exchange) override;
  // All that the client has said, the last of it perhaps not as recorded.
  [[nodiscard]] bool has_ended() const { return ended_; }
  // The client said something else, or ended where it had gone on.
  [[nodiscard]] bool has_diverged() const { return diverged_; }

 private:
  [[nodiscard]] bool has_come(const Said& said) const { return heard_ >= said.bytes && (ended_ || !said.ended); }
  net::Task<Result<void>> hear();
  net::Task<> hear_until(Said said);
  net::Task<Result<void>> hear_for_a_moment(Said said);
  [[nodiscard]] bool is_early() const;
  net::Task<Result<bool>> is_as_recorded(std::string_view bytes);
  // What the tape has from heard_ on, as far as it is at hand; empty: the body ends there.
  net::Task<Result<std::string_view>> recorded();

  ReplayedRequest& request_;
  Asking& asking_;
  const store::Recording& recording_;
  SegmentReader reader_;
  std::string segment_;
  uint64_t segment_begin_ = 0;
  uint64_t heard_;
  bool ended_;
  bool diverged_ = false;
  bool is_let_go_ = false;  // it said less than on tape, and waits
  SaidSoFar said_;          // on tape
};

}  // namespace tapdeck::modes

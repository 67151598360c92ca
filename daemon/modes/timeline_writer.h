// TimelineWriter: writes a recorded body with the chunk boundaries the origin wrote and, when paced, at the moments it
// wrote them.
//
// Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include "daemon/modes/pace.h"
#include "store/record.h"

namespace tapdeck::modes {

class TimelineWriter {
 public:
  // All must outlive it.
  TimelineWriter(exchange::Exchange& exchange, const store::BodyRef& body, Pacer& pacer)
      : exchange_(exchange), body_(body), pacer_(pacer) {}

  // The next bytes of the body, in any portions.
  net::Task<Result<void>> write(std::string_view bytes);

 private:
  [[nodiscard]] bool begins_piece(const store::Chunk& chunk) const;
  [[nodiscard]] exchange::BodyPiece cut(std::string_view bytes);

  exchange::Exchange& exchange_;
  const store::BodyRef& body_;
  Pacer& pacer_;
  uint64_t offset_ = 0;
  size_t next_ = 0;      // entry of the timeline that begins at or after offset_
  uint64_t moment_ = 0;  // of the piece last cut
};

}  // namespace tapdeck::modes

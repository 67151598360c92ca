#include "daemon/modes/grpc_bytes.h"

#include <utility>

namespace tapdeck::modes {

using exchange::BodyPiece;

net::Task<Result<void>> GrpcBytes::send(exchange::Exchange& exchange, const GrpcItem& item, uint64_t offset,
                                        uint64_t length) {
  if (item.is_cached()) {
    const BodyPiece piece{std::string_view(item.body).substr(offset, length), std::nullopt, false};
    co_return co_await exchange.write_body(piece);
  }
  uint64_t begin = 0;  // of the segment
  for (size_t i = 0; i < item.recording.response_body.segments.size() && length > 0; ++i) {
    const store::Segment& segment = item.recording.response_body.segments[i];
    if (offset < begin + segment.size) {
      if (index_ != i) {
        CO_TRY(bytes, co_await reader_.read(segment));
        segment_ = std::move(bytes);
        index_ = i;
      }
      const BodyPiece piece{std::string_view(segment_).substr(offset - begin, length), std::nullopt, false};
      auto written = co_await exchange.write_body(piece);
      if (!written) co_return written;
      offset += piece.bytes.size();
      length -= piece.bytes.size();
    }
    begin += segment.size;
  }
  co_return Result<void>{};
}

}  // namespace tapdeck::modes

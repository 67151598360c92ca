#include "daemon/modes/timeline_writer.h"

namespace tapdeck::modes {

using exchange::BodyPiece;

net::Task<Result<void>> TimelineWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const BodyPiece piece = cut(bytes);
    auto reached = co_await pacer_.reach(exchange_, moment_);
    if (!reached) co_return reached;
    auto written = co_await exchange_.write_body(piece);
    if (!written) co_return written;
    bytes.remove_prefix(piece.bytes.size());
  }
  co_return Result<void>{};
}

// Only chunks of chunked coding are boundaries on the wire; moments matter to a paced replay alone.
bool TimelineWriter::begins_piece(const store::Chunk& chunk) const {
  return chunk.kind == store::Chunk::Kind::H1Chunk || !pacer_.is_instant();
}

BodyPiece TimelineWriter::cut(std::string_view bytes) {
  const auto& timeline = body_.timeline;
  BodyPiece piece{bytes, std::nullopt, false};
  while (next_ < timeline.size() && (!begins_piece(timeline[next_]) || timeline[next_].offset < offset_)) ++next_;
  if (next_ < timeline.size() && timeline[next_].offset == offset_) {
    const store::Chunk& chunk = timeline[next_++];
    moment_ = chunk.microseconds;
    if (chunk.kind == store::Chunk::Kind::H1Chunk) piece.chunk = http::ChunkStart{chunk.length, chunk.extension};
  }
  size_t following = next_;
  while (following < timeline.size() && !begins_piece(timeline[following])) ++following;
  if (following < timeline.size()) {
    piece.bytes = piece.bytes.substr(0, static_cast<size_t>(timeline[following].offset - offset_));
  }
  offset_ += piece.bytes.size();
  return piece;
}

}  // namespace tapdeck::modes

#include "daemon/modes/replay_item.h"

#include <utility>

#include "daemon/net/offload.h"
#include "daemon/ws/handshake.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;
using Kind = store::Outcome::Kind;

Result<std::shared_ptr<const ReplayItem>> load_item(const store::ExchangeStore& store, std::string_view session,
                                                    uint64_t id) {
  auto item = std::make_shared<ReplayItem>();
  TRY(recording, store.get(session, id));
  item->recording = std::move(recording);
  if (item->recording.response_body.size <= kCachedBody) {
    TRY(body, store.read_body(item->recording.response_body, kCachedBody));
    item->body = std::move(body);
  }
  return std::shared_ptr<const ReplayItem>(std::move(item));
}

namespace {

// Ends with its head: no body, and no chunked coding that must say so.
bool ends_with_head(const ReplayItem& item, bool bodyless, const Exchange& exchange) {
  const store::Recording& recording = item.recording;
  if (recording.outcome.kind != Kind::Complete || !bodyless || !recording.response_trailers.empty()) return false;
  const bool never_has_body =
      recording.response.status == 204 || recording.response.status == 304 || exchange.request().method == "HEAD";
  return never_has_body || !recording.response.headers.has_token("transfer-encoding", "chunked");
}

bool is_bodyless(const ReplayItem& item, const Exchange& exchange) {
  const int status = item.recording.response.status;
  return status == 204 || status == 304 || exchange.request().method == "HEAD" || item.recording.response_body.empty();
}

// Writes `bytes`, which begin at `offset` of the body, with the chunk boundaries the origin wrote.
class TimelineWriter {
 public:
  TimelineWriter(Exchange& exchange, const store::BodyRef& body) : exchange_(exchange), body_(body) {}

  net::Task<Result<void>> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const BodyPiece piece = cut(bytes);
      auto written = co_await exchange_.write_body(piece);
      if (!written) co_return written;
      bytes.remove_prefix(piece.bytes.size());
    }
    co_return Result<void>{};
  }

 private:
  BodyPiece cut(std::string_view bytes) {
    BodyPiece piece{bytes, std::nullopt, false};
    while (next_ < body_.timeline.size() &&
           (body_.timeline[next_].kind != store::Chunk::Kind::H1Chunk || body_.timeline[next_].offset < offset_)) {
      ++next_;
    }
    if (next_ < body_.timeline.size() && body_.timeline[next_].offset == offset_) {
      piece.chunk = http::ChunkStart{body_.timeline[next_].length, body_.timeline[next_].extension};
      ++next_;
    }
    size_t following = next_;
    while (following < body_.timeline.size() && body_.timeline[following].kind != store::Chunk::Kind::H1Chunk)
      ++following;
    if (following < body_.timeline.size()) {
      piece.bytes = piece.bytes.substr(0, static_cast<size_t>(body_.timeline[following].offset - offset_));
    }
    offset_ += piece.bytes.size();
    return piece;
  }

  Exchange& exchange_;
  const store::BodyRef& body_;
  uint64_t offset_ = 0;
  size_t next_ = 0;
};

net::Task<Result<void>> stream_body(Exchange& exchange, const ReplayItem& item, TimelineWriter& writer,
                                    const store::ExchangeStore& store, net::ThreadPool& readers) {
  // One segment at a time: memory stays flat however long the body is.
  for (const store::Segment& segment : item.recording.response_body.segments) {
    store::BodyRef part;
    part.size = segment.size;
    part.segments.push_back(segment);
    auto read = [&store, part] { return store.read_body(part, part.size); };
    CO_TRY(bytes, co_await net::offload(readers, read));
    auto written = co_await writer.write(bytes);
    if (!written) co_return written;
    auto flushed = co_await exchange.flush();
    if (!flushed) co_return flushed;
  }
  co_return Result<void>{};
}

}  // namespace

bool can_send_now(const ReplayItem& item) {
  if (ws::is_opened(item.recording.request, item.recording.response)) return false;  // a conversation, not a body
  return item.recording.outcome.kind == Kind::Complete && item.recording.informational.empty() && item.is_cached() &&
         item.body.size() <= 65536 && item.recording.response_body.timeline.size() <= 1;
}

Result<void> send_now(Exchange& exchange, const ReplayItem& item) {
  const store::Recording& recording = item.recording;
  if (is_bodyless(item, exchange)) {
    const bool ends = ends_with_head(item, true, exchange);
    TRY_VOID(exchange.respond(recording.response, ends ? http::EndStream::Yes : http::EndStream::No));
    return ends ? Result<void>{} : exchange.end(recording.response_trailers);
  }
  TRY_VOID(exchange.respond(recording.response, http::EndStream::No));
  BodyPiece piece{item.body, std::nullopt, false};
  const auto& timeline = recording.response_body.timeline;
  if (!timeline.empty() && timeline.front().kind == store::Chunk::Kind::H1Chunk) {
    piece.chunk = http::ChunkStart{timeline.front().length, timeline.front().extension};
  }
  TRY_VOID(exchange.write_now(piece));
  return exchange.end(recording.response_trailers);
}

net::Task<Result<void>> send(Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                             const store::ExchangeStore& store, net::ThreadPool& readers) {
  const store::Recording& recording = item->recording;
  for (const http::ResponseHead& head : recording.informational) {
    CO_TRY_VOID(exchange.inform(head));
  }
  const bool whole = recording.outcome.kind == Kind::Complete;
  const bool bodyless = is_bodyless(*item, exchange);
  const bool ends = ends_with_head(*item, bodyless, exchange);
  CO_TRY_VOID(exchange.respond(recording.response, ends ? http::EndStream::Yes : http::EndStream::No));
  if (ends) co_return Result<void>{};
  if (!bodyless) {
    TimelineWriter writer(exchange, recording.response_body);
    Result<void> written;
    if (item->is_cached()) {
      written = co_await writer.write(item->body);
    } else {
      written = co_await stream_body(exchange, *item, writer, store, readers);
    }
    if (!written) co_return written;
  }
  if (whole) co_return exchange.end(recording.response_trailers);
  auto flushed = co_await exchange.flush();
  if (!flushed) co_return flushed;
  exchange.reset(http::ResetCode::InternalError);  // as the origin did, at the same byte
  co_return Result<void>{};
}

}  // namespace tapdeck::modes

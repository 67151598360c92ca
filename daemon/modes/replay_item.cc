#include "daemon/modes/replay_item.h"

#include <utility>

#include "daemon/modes/break_off.h"
#include "daemon/modes/timeline_writer.h"
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

// Ends with its head: no body, and nothing else that must say so.
bool ends_with_head(const ReplayItem& item, bool bodyless, const Exchange& exchange) {
  const store::Recording& recording = item.recording;
  if (!is_whole(recording) || !bodyless || !recording.response_trailers.empty()) return false;
  const bool never_has_body =
      recording.response.status == 204 || recording.response.status == 304 || exchange.request().method == "HEAD";
  // Over HTTP/1 no body at all may be said by the end of the connection alone, which is then told the same way.
  return never_has_body || recording.response.version == http::Version::Http2 ||
         recording.response.headers.find("content-length");
}

bool is_bodyless(const ReplayItem& item, const Exchange& exchange) {
  const int status = item.recording.response.status;
  return status == 204 || status == 304 || exchange.request().method == "HEAD" || item.recording.response_body.empty();
}

net::Task<Result<void>> stream_body(Exchange& exchange, const ReplayItem& item, TimelineWriter& writer,
                                    const store::ExchangeStore& store, net::ThreadPool& readers) {
  for (const store::Segment& segment : item.recording.response_body.segments) {
    CO_TRY(bytes, co_await read_segment(segment, store, readers));
    auto written = co_await writer.write(bytes);
    if (!written) co_return written;
    auto flushed = co_await exchange.flush();
    if (!flushed) co_return flushed;
  }
  co_return Result<void>{};
}

}  // namespace

net::Task<Result<std::string>> read_segment(store::Segment segment, const store::ExchangeStore& store,
                                            net::ThreadPool& readers) {
  store::BodyRef part;
  part.size = segment.size;
  part.segments.push_back(segment);
  auto read = [&store, part] { return store.read_body(part, part.size); };
  co_return co_await net::offload(readers, read);
}

http::ResetCode reset_code_of(const store::Outcome& outcome) {
  // What h1 makes of a reset has no code. A number that says "no error" would let the client take a part for the whole.
  const bool is_http2 = outcome.kind == Kind::Reset && outcome.reason == "upstream_reset" && outcome.code > 0;
  return is_http2 ? static_cast<http::ResetCode>(outcome.code) : http::ResetCode::InternalError;  // unknown ones too
}

bool is_whole(const store::Recording& recording) {
  return recording.outcome.kind == Kind::Complete || recording.outcome.kind == Kind::Failed;
}

bool can_send_now(const ReplayItem& item) {
  if (ws::is_opened(item.recording.request, item.recording.response)) return false;  // a conversation, not a body
  return is_whole(item.recording) && item.recording.informational.empty() && item.is_cached() &&
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
                             const store::ExchangeStore& store, net::ThreadPool& readers, double pace) {
  const store::Recording& recording = item->recording;
  Sleeper sleeper;
  Pacer pacer(pace, exchange.facts().began, sleeper);
  for (const http::ResponseHead& head : recording.informational) {
    if (head.status == 100) continue;  // ours to send, when this client waits for it
    CO_TRY_VOID(exchange.inform(head));
  }
  const bool whole = is_whole(recording);
  CO_TRY_VOID(co_await pacer.reach(exchange, recording.provenance.timings.first_byte));
  const bool bodyless = is_bodyless(*item, exchange);
  const bool ends = ends_with_head(*item, bodyless, exchange);
  CO_TRY_VOID(exchange.respond(recording.response, ends ? http::EndStream::Yes : http::EndStream::No));
  if (ends) co_return Result<void>{};
  if (!bodyless) {
    TimelineWriter writer(exchange, recording.response_body, pacer);
    Result<void> written;
    if (item->is_cached()) {
      written = co_await writer.write(item->body);
    } else {
      written = co_await stream_body(exchange, *item, writer, store, readers);
    }
    if (!written) co_return written;
  }
  CO_TRY_VOID(co_await pacer.reach(exchange, recording.provenance.timings.total));
  if (whole) co_return exchange.end(recording.response_trailers);
  const Break how = recording.outcome.kind == Kind::Truncated ? Break::Cut : Break::Reset;
  co_await break_off(exchange, reset_code_of(recording.outcome), how);  // as the origin did, at the same byte
  co_return Result<void>{};
}

}  // namespace tapdeck::modes

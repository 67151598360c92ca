#include "daemon/modes/replay_item.h"

#include <algorithm>
#include <utility>

#include "daemon/modes/break_off.h"
#include "daemon/modes/segment_reader.h"
#include "daemon/modes/timeline_writer.h"
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

size_t keep_complete(const store::ExchangeStore& store, std::string_view session, std::vector<uint64_t>& ids,
                     const std::vector<uint64_t>& known) {
  size_t unreadable = 0;
  std::erase_if(ids, [&](uint64_t id) {
    if (std::ranges::binary_search(known, id)) return false;
    const auto recording = store.get(session, id);
    if (!recording && recording.error().code != Code::NotFound) ++unreadable;  // else it was deleted meanwhile
    return !recording || recording->outcome.kind != Kind::Complete;
  });
  return unreadable;
}

namespace {

// Ends with its head: no body, and nothing else that must say so.
bool ends_with_head(const ReplayItem& item, bool bodyless, const Exchange& exchange) {
  const store::Recording& recording = item.recording;
  // All that it asks for is there, whatever became of the body.
  if (exchange.request().method == "HEAD" && recording.request.method == "GET") return true;
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
                                    SegmentReader& reader) {
  for (const store::Segment& segment : item.recording.response_body.segments) {
    CO_TRY(bytes, co_await reader.read(segment));
    auto written = co_await writer.write(bytes);
    if (!written) co_return written;
    auto flushed = co_await exchange.flush();
    if (!flushed) co_return flushed;
  }
  co_return Result<void>{};
}

Result<void> end(Exchange& exchange, const store::Recording& recording) {
  const auto& timeline = recording.response_body.timeline;
  const bool has_last_chunk =
      !timeline.empty() && timeline.back().kind == store::Chunk::Kind::H1Chunk && timeline.back().length == 0;
  if (has_last_chunk) {
    const BodyPiece last{{}, http::ChunkStart{0, timeline.back().extension}, false};
    TRY_VOID(exchange.write_now(last));
  }
  return exchange.end(recording.response_trailers);
}

}  // namespace

http::ResetCode reset_code_of(const store::Recording& recording) {
  // What h1 makes of a reset has no such code: there it is an errno.
  const store::Outcome& outcome = recording.outcome;
  const bool has_code = recording.response.version == http::Version::Http2 || recording.response.status == 0;
  const bool is_http2 = has_code && outcome.kind == Kind::Reset && outcome.reason == "upstream_reset";
  return is_http2 ? static_cast<http::ResetCode>(outcome.code) : http::ResetCode::InternalError;  // unknown ones too
}

bool is_whole(const store::Recording& recording) {
  return recording.outcome.kind == Kind::Complete || recording.outcome.kind == Kind::Failed;
}

bool is_unfinished(const store::Recording& recording) {
  return store::is_last_resort(recording);
}

bool was_left_by_client(const store::Recording& recording) {
  const std::string_view reason = recording.outcome.reason;
  return is_unfinished(recording) && (reason == store::kClientGone || reason == store::kInterrupted);
}

bool is_unanswered(const store::Recording& recording) {
  return recording.outcome.kind == Kind::Incomplete && recording.response.status == 0;
}

bool was_given_up(const store::Recording& recording) {
  return is_unanswered(recording) && was_left_by_client(recording);
}

std::chrono::microseconds time_to_give_up(const store::Recording& recording, std::chrono::milliseconds idle_timeout) {
  constexpr std::chrono::seconds kGrace{1};  // clients are no more exact than that
  const auto most = static_cast<uint64_t>(std::chrono::microseconds(idle_timeout).count());
  const std::chrono::microseconds taken(std::min(recording.provenance.timings.total, most));
  return std::min<std::chrono::microseconds>(taken + kGrace, idle_timeout);
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
    return ends ? Result<void>{} : end(exchange, recording);
  }
  TRY_VOID(exchange.respond(recording.response, http::EndStream::No));
  BodyPiece piece{item.body, std::nullopt, false};
  const auto& timeline = recording.response_body.timeline;
  if (!timeline.empty() && timeline.front().kind == store::Chunk::Kind::H1Chunk) {
    piece.chunk = http::ChunkStart{timeline.front().length, timeline.front().extension};
  }
  TRY_VOID(exchange.write_now(piece));
  return end(exchange, recording);
}

net::Task<Result<void>> send_interim(Exchange& exchange, const store::Recording& recording, Pacer& pacer) {
  const store::Timings& timings = recording.provenance.timings;
  CO_TRY_VOID(co_await pacer.reach(exchange, timings.first_byte));
  for (const http::ResponseHead& head : recording.informational) {
    if (head.status == 100) continue;  // ours to send, when this client waits for it
    CO_TRY_VOID(exchange.inform(head));
  }
  co_return co_await pacer.reach(exchange, std::max(timings.first_byte, timings.head));
}

net::Task<Result<void>> send(Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                             const store::ExchangeStore& store, net::ThreadPool& readers, Sending how) {
  const store::Recording& recording = item->recording;
  Sleeper sleeper;
  Pacer pacer(how.pace, exchange.facts().began, sleeper, how.gate);
  SegmentReader reader(store, readers);
  if (!item->is_cached()) co_await reader.begin();
  CO_TRY_VOID(co_await send_interim(exchange, recording, pacer));
  const bool whole = is_whole(recording);
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
      written = co_await stream_body(exchange, *item, writer, reader);
    }
    if (!written) co_return written;
  }
  CO_TRY_VOID(co_await pacer.reach_end(exchange, recording.provenance.timings.total));
  if (whole) co_return end(exchange, recording);
  reader.forget();
  if (was_left_by_client(recording)) co_return co_await wait_to_be_left(exchange, how.patience);
  const Break end = recording.outcome.kind == Kind::Truncated ? Break::Cut : Break::Reset;
  co_await break_off(exchange, reset_code_of(recording), end);  // as the origin did, at the same byte
  co_return Result<void>{};
}

}  // namespace tapdeck::modes

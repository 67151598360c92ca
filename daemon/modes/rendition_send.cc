#include "daemon/modes/rendition_send.h"

#include <algorithm>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/coding/decoder.h"
#include "daemon/modes/segment_reader.h"
#include "daemon/net/offload.h"

namespace tapdeck::modes {

using exchange::BodyPiece;
using exchange::Exchange;

namespace {

net::Task<Result<void>> write(Exchange& exchange, std::string_view bytes) {
  if (bytes.empty()) co_return Result<void>{};
  const BodyPiece piece{bytes, std::nullopt, false};
  co_return co_await exchange.write_body(piece);
}

net::Task<Result<void>> send_range(Exchange& exchange, const ReplayItem& item, const Rendition& rendition,
                                   const store::ExchangeStore& store, net::ThreadPool& readers) {
  SegmentReader reader(store, readers);
  if (!item.is_cached()) co_await reader.begin();
  CO_TRY_VOID(exchange.respond(rendition.head, http::EndStream::No));
  if (item.is_cached()) {
    const std::string_view body(item.body);
    const auto part = body.substr(static_cast<size_t>(rendition.first), static_cast<size_t>(rendition.length));
    auto written = co_await write(exchange, part);
    if (!written) co_return written;
  } else {
    uint64_t at = 0;
    const uint64_t end = rendition.first + rendition.length;
    for (const store::Segment& segment : item.recording.response_body.segments) {
      const uint64_t begin = std::max(at, rendition.first);
      const uint64_t stop = std::min(at + segment.size, end);
      if (begin < stop) {
        CO_TRY(bytes, co_await reader.read(segment));
        const auto part =
            std::string_view(bytes).substr(static_cast<size_t>(begin - at), static_cast<size_t>(stop - begin));
        auto written = co_await write(exchange, part);
        if (!written) co_return written;
      }
      at += segment.size;
    }
  }
  const http::Headers none;
  co_return exchange.end(none);
}

// A decoder and an encoder in a row.
class Recoder {
 public:
  Recoder(const Rendition& rendition, const coding::Bounds& bounds)
      : decoder_(rendition.decode, bounds), encoder_(rendition.encode) {}
  Result<void> feed(std::string_view bytes, std::string& out) {
    Result<void> encoded;
    TRY_VOID(decoder_.feed(bytes, [&](std::string_view piece) {
      if (encoded) encoded = encoder_.feed(piece, out);
    }));
    return encoded;
  }
  Result<void> finish(std::string& out) {
    TRY_VOID(decoder_.finish());
    return encoder_.finish(out);
  }

 private:
  coding::Decoder decoder_;
  coding::Encoder encoder_;
};

Result<std::string> recode_whole(const ReplayItem& item, const Rendition& rendition) {
  coding::Bounds bounds;
  bounds.max_output = kWholeRecoded;
  Recoder recoder(rendition, bounds);
  std::string out;
  TRY_VOID(recoder.feed(item.body, out));
  TRY_VOID(recoder.finish(out));
  return out;
}

// Of a length that is not known before its end.
http::ResponseHead unmeasured(const Exchange& exchange, const http::ResponseHead& head) {
  http::ResponseHead out = head;
  out.headers.remove("transfer-encoding");
  if (exchange.request().version == http::Version::Http10) {
    out.headers.set("Connection", "close");
  } else {
    out.headers.add("Transfer-Encoding", "chunked");
  }
  return out;
}

net::Task<Result<void>> stream_recoded(Exchange& exchange, const ReplayItem& item, const Rendition& rendition,
                                       const store::ExchangeStore& store, net::ThreadPool& readers) {
  SegmentReader reader(store, readers);
  co_await reader.begin();
  const http::ResponseHead head = unmeasured(exchange, rendition.head);
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  Recoder recoder(rendition, {});
  std::string out;
  Result<void> recoded;
  for (const store::Segment& segment : item.recording.response_body.segments) {
    CO_TRY(bytes, co_await reader.read(segment));
    // On the reader too: a segment may become a hundred times as long.
    auto work = [&recoder, &out, bytes = std::move(bytes)] { return recoder.feed(bytes, out); };
    recoded = co_await net::offload(readers, std::move(work));
    if (!recoded) break;
    auto written = co_await write(exchange, out);
    if (!written) co_return written;
    out.clear();
  }
  if (recoded) recoded = recoder.finish(out);
  if (!recoded) {
    exchange.reset(http::ResetCode::InternalError);  // never a part for the whole
    co_return recoded;
  }
  auto written = co_await write(exchange, out);
  if (!written) co_return written;
  co_return exchange.end(item.recording.response_trailers);
}

net::Task<Result<void>> send_recoded(Exchange& exchange, std::shared_ptr<const ReplayItem> item, Rendition rendition,
                                     const store::ExchangeStore& store, net::ThreadPool& readers) {
  if (exchange.request().method == "HEAD") {
    co_return exchange.respond(rendition.head, http::EndStream::Yes);  // the length it would have is left out
  }
  if (!item->is_cached()) co_return co_await stream_recoded(exchange, *item, rendition, store, readers);
  auto work = [item, &rendition] { return recode_whole(*item, rendition); };
  auto body = co_await net::offload(readers, std::move(work));
  if (!body) {
    log::peer(log::Level::Warn, "replay.not_recoded", "a recorded body does not decode: sent as it is",
              {{"recording", item->recording.id}, {"reason", body.error().message()}});
    const double instantly = 0;
    co_return co_await send(exchange, std::move(item), store, readers, instantly);
  }
  const http::Headers& trailers = item->recording.response_trailers;
  http::ResponseHead head = rendition.head;
  if (trailers.empty()) {
    head.headers.remove("transfer-encoding");
    head.headers.set("Content-Length", std::to_string(body->size()));
  } else {
    head = unmeasured(exchange, rendition.head);
  }
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  auto written = co_await write(exchange, *body);
  if (!written) co_return written;
  co_return exchange.end(trailers);
}

}  // namespace

net::Task<Result<void>> send_rendition(Exchange& exchange, std::shared_ptr<const ReplayItem> item, Rendition rendition,
                                       const store::ExchangeStore& store, net::ThreadPool& readers) {
  switch (rendition.body) {
    case Rendition::Body::Nothing:
      co_return exchange.respond(rendition.head, http::EndStream::Yes);
    case Rendition::Body::Range:
      co_return co_await send_range(exchange, *item, rendition, store, readers);
    case Rendition::Body::Recoded:
      co_return co_await send_recoded(exchange, std::move(item), std::move(rendition), store, readers);
    case Rendition::Body::AsRecorded:
      break;
  }
  const double instantly = 0;
  co_return co_await send(exchange, std::move(item), store, readers, instantly);
}

}  // namespace tapdeck::modes

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

// It gets the head that a GET would get, for which the body has to be looked at.
bool is_head(const Exchange& exchange) {
  return exchange.request().method == "HEAD";
}

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

constexpr uint64_t kUnbounded = UINT64_MAX;
// Decoded before the client is given a turn: about a segment, whatever a few coded bytes may stand for.
constexpr size_t kRecodedPiece = 256 * 1024;

// A decoder and an encoder in a row.
class Recoder {
 public:
  Recoder(const Rendition& rendition, const coding::Bounds& bounds)
      : decoder_(rendition.decode, bounds), encoder_(rendition.encode) {}
  // Appends what the next kRecodedPiece or so of decoded bytes become; false: `bytes` are used up.
  Result<bool> feed(std::string_view& bytes, std::string& out) {
    char buffer[16 * 1024];
    for (size_t decoded = 0; decoded < kRecodedPiece;) {
      TRY(size, decoder_.read(bytes, buffer));
      if (size == 0) return false;
      TRY_VOID(encoder_.feed({buffer, size}, out));
      decoded += size;
    }
    return true;
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
  Recoder recoder(rendition, {.max_output = kWholeRecoded, .max_ratio = kUnbounded});
  std::string out;
  std::string_view bytes = item.body;
  for (bool more = true; more;) {
    TRY(left, recoder.feed(bytes, out));
    more = left;
  }
  TRY_VOID(recoder.finish(out));
  return out;
}

// Of a length that is not known before its end.
http::ResponseHead unmeasured(const Exchange& exchange, const http::ResponseHead& head) {
  http::ResponseHead out = head;
  out.headers.remove("transfer-encoding");
  if (exchange.request().version == http::Version::Http10) {
    out.headers.set("Connection", "close");
  } else if (head.version != http::Version::Http2) {  // of that the codec adds it
    out.headers.add("Transfer-Encoding", "chunked");
  }
  return out;
}

net::Task<Result<void>> pass_recoded(Exchange& exchange, Recoder& recoder, std::string_view bytes,
                                     net::ThreadPool& readers) {
  std::string out;
  for (bool more = true; more;) {
    auto work = [&recoder, &bytes, &out] { return recoder.feed(bytes, out); };
    CO_TRY(left, co_await net::offload(readers, work));
    more = left;
    auto written = co_await write(exchange, out);
    if (!written) co_return written;
    out.clear();
  }
  co_return Result<void>{};
}

net::Task<Result<void>> pass_body_recoded(Exchange& exchange, const ReplayItem& item, Recoder& recoder,
                                          const store::ExchangeStore& store, net::ThreadPool& readers) {
  if (item.is_cached()) co_return co_await pass_recoded(exchange, recoder, item.body, readers);
  SegmentReader reader(store, readers);
  co_await reader.begin();
  for (const store::Segment& segment : item.recording.response_body.segments) {
    CO_TRY(bytes, co_await reader.read(segment));
    auto passed = co_await pass_recoded(exchange, recoder, bytes, readers);
    if (!passed) co_return passed;
  }
  co_return Result<void>{};
}

// In memory that does not grow, however much it becomes: the bounds of decoding are for what is held.
net::Task<Result<void>> stream_recoded(Exchange& exchange, const ReplayItem& item, const Rendition& rendition,
                                       const store::ExchangeStore& store, net::ThreadPool& readers) {
  const http::ResponseHead head = unmeasured(exchange, rendition.head);
  if (is_head(exchange)) co_return exchange.respond(head, http::EndStream::Yes);
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  Recoder recoder(rendition, {.max_output = kUnbounded, .max_ratio = kUnbounded});
  auto recoded = co_await pass_body_recoded(exchange, item, recoder, store, readers);
  std::string rest;
  if (recoded) recoded = recoder.finish(rest);
  if (!recoded) {
    exchange.reset(http::ResetCode::InternalError);  // never a part for the whole
    co_return recoded;
  }
  auto written = co_await write(exchange, rest);
  if (!written) co_return written;
  co_return exchange.end(rendition.trailers);
}

net::Task<Result<void>> send_recoded(Exchange& exchange, std::shared_ptr<const ReplayItem> item, Rendition rendition,
                                     const store::ExchangeStore& store, net::ThreadPool& readers) {
  if (!item->is_cached()) co_return co_await stream_recoded(exchange, *item, rendition, store, readers);
  auto work = [item, &rendition] { return recode_whole(*item, rendition); };
  auto body = co_await net::offload(readers, std::move(work));
  if (!body && body.error().code == Code::TooLarge) {
    co_return co_await stream_recoded(exchange, *item, rendition, store, readers);
  }
  if (!body) {
    log::peer(log::Level::Warn, "replay.not_recoded", "a recorded body does not decode: sent as it is",
              {{"recording", item->recording.id}, {"reason", body.error().message()}});
    const Sending instantly;
    co_return co_await send(exchange, std::move(item), store, readers, instantly);
  }
  http::ResponseHead head = rendition.head;
  if (rendition.trailers.empty()) {
    head.headers.remove("transfer-encoding");
    head.headers.set("Content-Length", std::to_string(body->size()));
  } else {
    head = unmeasured(exchange, rendition.head);
  }
  if (is_head(exchange)) co_return exchange.respond(head, http::EndStream::Yes);
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  auto written = co_await write(exchange, *body);
  if (!written) co_return written;
  co_return exchange.end(rendition.trailers);
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
  const Sending instantly;
  co_return co_await send(exchange, std::move(item), store, readers, instantly);
}

}  // namespace tapdeck::modes

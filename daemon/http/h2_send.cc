// The sending half of H2Codec: heads and bodies -> nghttp2 -> output().
#include <algorithm>
#include <utility>

#include "daemon/http/h1_syntax.h"
#include "daemon/http/h2_callbacks.h"
#include "daemon/http/translate.h"

namespace tapdeck::http {

namespace {

std::unexpected<Error> misuse(std::string_view what) {
  return fail(Code::Internal, "h2: " + std::string(what));
}

}  // namespace

ByteQueue& H2Codec::output() {
  if (dirty_) pump(kOutputBytes);
  return out_;
}

// Control frames go out whatever out_ holds; data stops at `limit`.
void H2Codec::pump(size_t limit) {
  if (pumping_) return;
  pumping_ = true;
  data_limit_ = limit;
  while (true) {
    const uint8_t* bytes = nullptr;
    const auto n = nghttp2_session_mem_send(session_, &bytes);
    if (n < 0) {
      if (!failure_) failure_ = connection_error(Code::Internal, nghttp2_strerror(static_cast<int>(n)));
      dirty_ = false;
      break;
    }
    if (n > 0) {
      const std::string_view frame(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
      settings_due_ ? append_settings(std::string(frame)) : out_.append(frame);
    } else if (!std::exchange(paused_, false)) {
      dirty_ = false;
      break;
    } else if (nghttp2_session_get_outbound_queue_size(session_) == 0) {
      break;  // dirty_ stays: the rest is for when out_ has been written
    }
  }
  pumping_ = false;
}

// The first frame of a server, with the limit of streams that is kept here (kSpareStreams).
void H2Codec::append_settings(std::string frame) {
  constexpr size_t kEntry = 6;
  settings_due_ = false;
  for (size_t at = H2FrameHeader::kBytes; at + kEntry <= frame.size(); at += kEntry) {
    if (frame[at] != 0 || frame[at + 1] != NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) continue;
    for (size_t i = 0; i < 4; ++i) frame[at + 2 + i] = static_cast<char>(max_streams_ >> (24 - 8 * i) & 0xff);
  }
  out_.append(frame);
}

const std::vector<nghttp2_nv>& H2Codec::as_nv(const Headers& fields) {
  nv_.clear();
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto [name, value] = fields[i];
    // nghttp2 copies; the type is not const for its other uses.
    nv_.push_back({const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(name.data())),
                   const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(value.data())), name.size(), value.size(),
                   NGHTTP2_NV_FLAG_NONE});
  }
  return nv_;
}

Result<H2Codec::Stream*> H2Codec::writable(StreamId id) const {
  if (failure_) return fail(Code::Closed, "the connection is broken: " + failure_->detail, origin_);
  Stream* stream = find(id);
  if (stream == nullptr || stream->given_up) return fail(Code::Reset, "the stream is gone", origin_);
  return stream;
}

// What the head promises of the body, and whether one may come.
Result<void> H2Codec::plan_body(Stream& stream, EndStream end) {
  stream.length_left.reset();
  if (const auto length = fields_.find("content-length")) {
    if (fields_.count("content-length") > 1) return misuse("Content-Length repeated");
    stream.length_left = parse_length(*length);
    if (!stream.length_left) return misuse("Content-Length is not a number");
  }
  if (stream.bodiless) return {};
  if (end == EndStream::Yes && stream.length_left.value_or(0) > 0) return misuse("Content-Length without its body");
  return {};
}

Result<StreamId> H2Codec::send_request(const RequestHead& head, EndStream end) {
  if (role_ != Role::Client) return misuse("send_request on the server side");
  if (failure_) return fail(Code::Closed, "the connection is broken: " + failure_->detail, origin_);
  if (streams_left() == 0) return fail(Code::Exhausted, "this connection takes no further request now", origin_);
  const bool websocket = is_websocket(head);
  if ((websocket || !head.protocol.empty()) && !takes_extended_connect()) {
    return fail(Code::Unsupported, "the peer takes no extended CONNECT over HTTP/2", origin_);
  }
  TRY_VOID(to_h2(head, scheme_, fields_));
  const auto id = static_cast<StreamId>(nghttp2_session_get_next_stream_id(session_));
  Stream* stream = open(id);
  stream->shown = true;
  stream->head_sent = true;
  stream->head_request = head.method == "HEAD";
  stream->websocket = websocket;
  // A pipe stays open whatever its handshake looked like in h1, where it has no body.
  if (websocket || head.method == "CONNECT") end = EndStream::No;
  stream->ended = end == EndStream::Yes;
  auto planned = plan_body(*stream, end);
  nghttp2_data_provider body{{.ptr = stream}, Callbacks::read_body};
  const auto& nv = as_nv(fields_);
  if (!planned || nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(),
                                         end == EndStream::Yes ? nullptr : &body, nullptr) < 0) {
    release(id);
    if (!planned) return std::unexpected(planned.error());
    return fail(Code::Exhausted, "nghttp2 takes no further request", origin_);
  }
  guard_.opened(id);
  dirty_ = true;
  pump(kOutputBytes);  // only now does the stream exist for nghttp2
  if (find(id) == nullptr) return fail(Code::Exhausted, "the request could not be sent", origin_);
  return id;
}

Result<void> H2Codec::send_response(StreamId id, const ResponseHead& head, EndStream end) {
  if (role_ != Role::Server) return misuse("send_response on the client side");
  TRY(stream, writable(id));
  if (stream->head_sent) return misuse("a second response to one request");
  if (head.status < 200 && head.status != 101) return misuse("1xx goes through send_informational");
  if (head.status == 101 && !stream->websocket) return misuse("101 to a request that did not ask for it");
  TRY_VOID(to_h2(head, fields_));
  stream->bodiless = stream->head_request || head.status == 204 || head.status == 304;
  TRY_VOID(plan_body(*stream, end));
  const bool no_body = end == EndStream::Yes || stream->bodiless;
  nghttp2_data_provider body{{.ptr = stream}, Callbacks::read_body};
  const auto& nv = as_nv(fields_);
  if (nghttp2_submit_response(session_, static_cast<int32_t>(id), nv.data(), nv.size(), no_body ? nullptr : &body) !=
      0) {
    return misuse("nghttp2 takes no response on this stream");
  }
  stream->head_sent = true;
  stream->ended = end == EndStream::Yes;
  dirty_ = true;
  return {};
}

Result<void> H2Codec::send_informational(StreamId id, const ResponseHead& head) {
  if (role_ != Role::Server) return misuse("send_informational on the client side");
  TRY(stream, writable(id));
  if (stream->head_sent) return misuse("1xx after the response");
  if (head.status < 100 || head.status > 199 || head.status == 101) return misuse("not an informational status");
  TRY_VOID(to_h2(head, fields_));
  const auto& nv = as_nv(fields_);
  if (nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(id), nullptr, nv.data(), nv.size(),
                             nullptr) != 0) {
    return misuse("nghttp2 takes no 1xx on this stream");
  }
  dirty_ = true;
  return {};
}

void H2Codec::resume(Stream& stream) {
  dirty_ = true;
  if (!std::exchange(stream.deferred, false)) return;
  ignore(nghttp2_session_resume_data(session_, static_cast<int32_t>(stream.id)), "a stream being reset has none");
}

Result<size_t> H2Codec::send_body(StreamId id, std::string_view bytes, const std::optional<ChunkStart>& /*chunk*/) {
  TRY(stream, writable(id));
  if (!stream->head_sent || stream->ended) return misuse("body outside a message");
  if (stream->bodiless) return bytes.size();
  if (stream->length_left && bytes.size() > *stream->length_left)
    return misuse("more body than Content-Length promised");
  size_t taken = 0;
  while (taken < bytes.size()) {
    const std::string_view piece = bytes.substr(taken, room(*stream));
    if (!piece.empty()) {
      stream->queue.append(piece);
      taken += piece.size();
      resume(*stream);
    }
    if (taken == bytes.size()) break;
    pump(SIZE_MAX);  // the caller holds the bytes anyway; what the windows let through makes room
    stream = find(id);
    if (stream == nullptr || room(*stream) == 0) break;
  }
  if (stream != nullptr && stream->length_left) *stream->length_left -= taken;
  if (taken == 0 && !bytes.empty() && eof_) return fail(Code::Closed, "the peer will open no window any more", origin_);
  return taken;
}

size_t H2Codec::send_capacity(StreamId id) const {
  const Stream* stream = find(id);
  // Of a stream that takes no bytes, send_body says so at once.
  if (stream == nullptr || stream->given_up || stream->bodiless || failure_ || eof_) return SIZE_MAX;
  return room(*stream);
}

size_t H2Codec::room(const Stream& stream) const {
  const size_t share = kStreamQueue * kFullQueues / std::max(streams_.size(), kFullQueues);
  return share - std::min(share, stream.queue.size());
}

size_t H2Codec::unsent(const Stream& stream) {
  if (stream.given_up) return 0;
  return stream.queue.size() + (stream.ended && !stream.bodiless && !stream.local_ended ? 1 : 0);
}

bool H2Codec::has_unsent(StreamId id) const {
  const Stream* stream = failure_ ? nullptr : find(id);
  return stream != nullptr && unsent(*stream) > 0;
}

size_t H2Codec::unsent() const {
  size_t sum = 0;
  if (failure_) return sum;
  for (const Stream* stream : streams_) sum += unsent(*stream);
  return sum;
}

Result<void> H2Codec::send_end(StreamId id, const Headers& trailers) {
  TRY(stream, writable(id));
  if (!stream->head_sent || stream->ended) return misuse("end outside a message");
  if (!stream->bodiless) {
    if (stream->length_left.value_or(0) > 0) {
      reset(id, ResetCode::InternalError);  // what was promised can no longer be kept
      return misuse("less body than Content-Length promised");
    }
    TRY_VOID(to_h2_trailers(trailers, stream->trailers));
    resume(*stream);
  }
  stream->ended = true;
  return {};
}

void H2Codec::reset(StreamId id, ResetCode code) {
  Stream* stream = find(id);
  if (stream == nullptr || stream->given_up || failure_) return;
  if (code == ResetCode::NoError && stream->ended && !stream->local_ended) {
    stream->reset_behind_end = true;
    return;
  }
  stream->given_up = stream->reset_by_us = true;
  stream->queue.clear();
  forget_events(id);
  ignore(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(id), static_cast<uint32_t>(code)),
         "out of memory ends the connection at the next write");
  dirty_ = true;
}

void H2Codec::answer_too_large(Stream& stream) {
  ResponseHead head;
  head.status = 431;
  head.headers.add("content-length", "0");
  if (auto sent = send_response(stream.id, head, EndStream::Yes); !sent) {
    return refuse_message(stream, ResetCode::EnhanceYourCalm);
  }
  stream.given_up = true;
  stream.reset_behind_end = true;
}

// ---- nghttp2's side

ssize_t H2Codec::read_queue(Stream& stream, size_t length, uint32_t* flags) {
  const size_t n = std::min(length, stream.queue.size());
  if (n == 0 && !stream.ended) {
    stream.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (stream.ended && n == stream.queue.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const auto& nv = as_nv(stream.trailers);
      ignore(nghttp2_submit_trailer(session_, static_cast<int32_t>(stream.id), nv.data(), nv.size()),
             "out of memory ends the connection at the next write");
    }
  }
  return static_cast<ssize_t>(n);
}

int H2Codec::send_data(Stream& stream, const uint8_t* header, size_t length) {
  out_.append({reinterpret_cast<const char*>(header), H2FrameHeader::kBytes});
  out_.move_from(stream.queue, length);
  guard_.sent_data(length);
  if (stream.queue.empty()) guard_.sent_all();
  if (out_.size() < data_limit_) return 0;
  paused_ = true;
  return NGHTTP2_ERR_PAUSE;
}

void H2Codec::frame_sent(const nghttp2_frame& frame) {
  const auto id = static_cast<StreamId>(frame.hd.stream_id);
  if (frame.hd.type == NGHTTP2_GOAWAY && frame.goaway.error_code != NGHTTP2_NO_ERROR && !failure_) {
    // nghttp2 found the fault itself.
    const std::string_view code = nghttp2_http2_strerror(frame.goaway.error_code);
    failure_ = connection_error(Code::Protocol, std::string(code) + (complaint_.empty() ? "" : ": " + complaint_));
  }
  if (frame.hd.type == NGHTTP2_GOAWAY && draining_ && !closing_ && role_ == Role::Server) {
    // Only now: nghttp2 would send it first, and its answer has to mean that the notice was read.
    ignore(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr), "the end comes without a final GOAWAY then");
  }
  if (frame.hd.type == NGHTTP2_RST_STREAM) return reset_sent(id, static_cast<ResetCode>(frame.rst_stream.error_code));
  const bool ends = (frame.hd.type == NGHTTP2_DATA || frame.hd.type == NGHTTP2_HEADERS) &&
                    (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  Stream* stream = ends ? find(id) : nullptr;
  if (stream == nullptr) return;
  stream->local_ended = true;
  if (!stream->reset_behind_end || stream->remote_ended) return;
  stream->given_up = stream->reset_by_us = true;
  ignore(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(id), NGHTTP2_NO_ERROR),
         "the peer sends on for nothing");
}

void H2Codec::reset_sent(StreamId id, ResetCode code) {
  const Stream* stream = find(id);
  const bool wanted = stream != nullptr && stream->reset_by_us;
  guard_.reset(id);
  if (wanted || failure_) return;
  const auto fault = code == ResetCode::RefusedStream ? guard_.refused() : guard_.made_us_reset();
  if (fault) ignore(fail_connection(*fault), "next() returns it");
}

int H2Codec::Callbacks::frame_sent(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* codec) {
  static_cast<H2Codec*>(codec)->frame_sent(*frame);
  return 0;
}

int H2Codec::Callbacks::frame_not_sent(nghttp2_session* /*session*/, const nghttp2_frame* frame, int /*library_code*/,
                                       void* codec) {
  auto* self = static_cast<H2Codec*>(codec);
  // A request that GOAWAY overtook.
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    self->closed(static_cast<StreamId>(frame->hd.stream_id), NGHTTP2_REFUSED_STREAM);
  }
  return 0;
}

ssize_t H2Codec::Callbacks::read_body(nghttp2_session* /*session*/, int32_t /*stream*/, uint8_t* /*to*/, size_t length,
                                      uint32_t* flags, nghttp2_data_source* source, void* codec) {
  return static_cast<H2Codec*>(codec)->read_queue(*static_cast<Stream*>(source->ptr), length, flags);
}

int H2Codec::Callbacks::send_data(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/, const uint8_t* header,
                                  size_t length, nghttp2_data_source* source, void* codec) {
  return static_cast<H2Codec*>(codec)->send_data(*static_cast<Stream*>(source->ptr), header, length);
}

}  // namespace tapdeck::http

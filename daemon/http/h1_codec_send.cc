// The sending half of H1Codec: which framing a head gets, and what an ended message means for the connection.
#include <algorithm>
#include <string>

#include "daemon/http/h1_codec.h"
#include "daemon/http/h1_syntax.h"
#include "daemon/http/translate.h"
#include "daemon/http/upgrade_offer.h"

namespace tapdeck::http {

namespace {

using Framing = H1Writer::Framing;

constexpr std::string_view kChunkedLine = "Transfer-Encoding: chunked\r\n";
constexpr std::string_view kEmptyBodyLine = "Content-Length: 0\r\n";
constexpr std::string_view kCloseLine = "Connection: close\r\n";

std::unexpected<Error> misuse(std::string_view what) {
  return fail(Code::Internal, "h1: " + std::string(what));
}

}  // namespace

Result<StreamId> H1Codec::send_request(const RequestHead& head, EndStream end) {
  if (role_ != Role::Client) return misuse("send_request on the server side");
  if (head.version == Version::Http2) {
    TRY(translated, to_h1(head));
    // Where a body is expected, that there is none has to be said (RFC 9110 8.6).
    const bool expects_body = head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
    if (expects_body && end == EndStream::Yes && !translated.headers.find("content-length")) {
      translated.headers.add("Content-Length", "0");
    }
    // The bytes of a pipe are no body: in h1 its handshake ends with the head.
    return send_request(translated, head.method == "CONNECT" ? EndStream::Yes : end);
  }
  const bool tunnel_pending = !outstanding_.empty() && (outstanding_.back().connect || outstanding_.back().upgrade);
  if (must_close() || writer_.open() || tunnel_pending) {
    return fail(Code::Exhausted, "this connection takes no further request now", Origin::Upstream);
  }
  TRY(declared, H1Writer::inspect(head.headers));
  const bool http10 = head.version == Version::Http10;
  if (declared.chunked && http10) return misuse("Transfer-Encoding in an HTTP/1.0 request");
  const bool undeclared = !declared.chunked && !declared.length;
  if (undeclared && end == EndStream::No && http10) return misuse("an HTTP/1.0 request body needs a Content-Length");
  if (declared.hosts > 1) return misuse("Host repeated");
  std::string host_line;
  if (!http10 && declared.hosts == 0) {
    if (!is_authority(head.authority)) return misuse("HTTP/1.1 request without Host");
    host_line.append("Host: ").append(head.authority).append("\r\n");
  }
  H1Writer::Plan plan;
  if (declared.chunked || (undeclared && end == EndStream::No)) {
    plan.framing = Framing::Chunked;
    if (undeclared) plan.add_last = kChunkedLine;
  } else {
    plan.framing = Framing::Length;
    plan.length = declared.length.value_or(0);
  }
  if (end == EndStream::Yes && plan.length > 0) return misuse("Content-Length without its body");
  const bool says_close = declared.close;
  if (draining_ && !says_close) plan.add_close = kCloseLine;
  TRY_VOID(writer_.request(head, host_line, plan));
  if (draining_ || says_close) closing_ = true;
  sending_ = next_stream_;
  next_stream_ += 2;
  outstanding_.push_back({.id = sending_,
                          .head = head.method == "HEAD",
                          .connect = head.method == "CONNECT",
                          .upgrade = !http10 && declared.upgrade,
                          .offer = declared.upgrade ? upgrade_offer(head.headers) : std::string(),
                          .http10 = http10});
  if (reading_ == Reading::Between) reading_ = Reading::StartLine;
  if (end == EndStream::Yes) TRY_VOID(writer_.end({}));
  return sending_;
}

Result<void> H1Codec::check_stream(StreamId stream) const {
  if (failure_ && role_ == Role::Client) return std::unexpected(*failure_);
  if (dead_) return fail(Code::Cancelled, "the stream was reset");
  const StreamId current = role_ == Role::Server ? current_.id : sending_;
  if (stream == 0 || stream != current) return misuse("no such stream");
  return {};
}

// 101 and 2xx to CONNECT: what follows is not HTTP.
bool H1Codec::is_switch(const ResponseHead& head) const {
  return head.status == 101 || (current_.connect && head.status / 100 == 2);
}

Result<H1Writer::Plan> H1Codec::plan_response(const ResponseHead& head, const H1Writer::Declared& declared,
                                              EndStream end) const {
  H1Writer::Plan plan;
  plan.length = declared.length.value_or(0);
  plan.drop_transfer_encoding = current_.http10 || head.version == Version::Http10;
  const bool bodiless = current_.head || head.status == 204 || head.status == 304 || is_switch(head);
  if (bodiless) {
    plan.framing = Framing::Discard;
  } else if (declared.length) {
    if (end == EndStream::Yes && *declared.length > 0) return misuse("Content-Length without its body");
    plan.framing = Framing::Length;
  } else if (end == EndStream::Yes && !declared.chunked) {
    plan.framing = Framing::Length;
    plan.add_last = kEmptyBodyLine;
  } else if (plan.drop_transfer_encoding || !declared.chunked) {
    plan.framing = Framing::UntilClose;
  } else {
    plan.framing = Framing::Chunked;
  }
  return plan;
}

Result<ResponseHead> H1Codec::translated(const ResponseHead& head, EndStream end) const {
  TRY(out, to_h1(head, current_.upgrade ? Answers::WebSocket : Answers::Plain));
  const bool bodiless = current_.head || out.status < 200 || out.status == 204 || out.status == 304 || is_switch(out);
  // In h2 a body needs no length, in h1 it would end with the connection.
  if (!bodiless && end == EndStream::No && !out.headers.find("content-length")) {
    out.headers.add("Transfer-Encoding", "chunked");
  }
  return out;
}

Result<void> H1Codec::send_response(StreamId stream, const ResponseHead& head, EndStream end) {
  if (role_ != Role::Server) return misuse("send_response on the client side");
  if (head.version == Version::Http2) {
    TRY(as_h1, translated(head, end));
    return send_response(stream, as_h1, end);
  }
  if (failure_ && !explained_ && (current_.id == 0 || answer_ == Answer::Ended)) {
    current_ = {.id = stream};  // the request that failed never got a stream
    answer_ = Answer::None;
  }
  TRY_VOID(check_stream(stream));
  if (answer_ != Answer::None) return misuse("a second response to one request");
  if (head.status < 200 && head.status != 101) return misuse("1xx goes through send_informational");
  if (head.status == 101 && !current_.upgrade) return misuse("101 to a request that did not ask for it");
  TRY(declared, H1Writer::inspect(head.headers));
  TRY(plan, plan_response(head, declared, end));
  const bool says_close = declared.close;
  const bool keeps_alive = declared.keep_alive;
  const bool by_close = plan.framing == Framing::UntilClose;
  // A coding that a 1.0 client cannot read was dropped: then the head says what ends the body instead.
  const bool recoded = by_close && declared.chunked;
  const bool switches = is_switch(head);
  // What follows a refused CONNECT, now or later, may be meant for the tunnel; reading it as requests would be
  // smuggling. Who is asked for credentials waits for that, and its handshake may belong to the connection (NTLM).
  const bool refuses_tunnel = current_.connect && !switches && (head.status != 407 || !in_.empty());
  const bool last = draining_ || failure_ || recoded || refuses_tunnel;
  // A 1.0 peer, or a 1.0 head, means one exchange unless both say otherwise. Without the word from us the client of a
  // 1.0 head closes by itself; 1.1 has to be told. A body that ends with the connection says it too (RFC 9112 6.3).
  const bool one_shot = (current_.http10 || head.version == Version::Http10) && !keeps_alive;
  if (!switches && last && !says_close && (head.version != Version::Http10 || keeps_alive)) {
    plan.add_close = kCloseLine;
  }
  TRY_VOID(writer_.response(head, plan));
  answer_ = Answer::Head;
  explained_ = failure_.has_value();
  if (!switches && (last || by_close || says_close || one_shot)) closing_ = true;
  // RFC 9110 10.1.1: without a 100 the client may send the body or leave it out; nobody can tell from here.
  if (current_.continue_awaited && !informed_ && reading_ != Reading::Complete && reading_ != Reading::Between) {
    closing_ = true;
  }
  upgrade_due_ = switches;
  if (switches || end == EndStream::Yes) return send_end(stream, {});
  return {};
}

Result<void> H1Codec::send_informational(StreamId stream, const ResponseHead& head) {
  if (role_ != Role::Server) return misuse("send_informational on the client side");
  if (head.version == Version::Http2) {
    TRY(as_h1, to_h1(head, Answers::Plain));
    return send_informational(stream, as_h1);
  }
  TRY_VOID(check_stream(stream));
  if (answer_ != Answer::None) return misuse("1xx after the response");
  if (head.status < 100 || head.status > 199 || head.status == 101) return misuse("not an informational status");
  if (current_.http10) return {};  // RFC 9110 15.2: an HTTP/1.0 client would take it for the response
  TRY(declared, H1Writer::inspect(head.headers));
  if (declared.chunked || declared.length.value_or(0) > 0) return misuse("1xx with a body");
  TRY_VOID(writer_.response(head, {}));
  writer_.abandon();
  if (head.status == 100) informed_ = true;
  return {};
}

Result<size_t> H1Codec::send_body(StreamId stream, std::string_view bytes, const std::optional<ChunkStart>& chunk) {
  TRY_VOID(check_stream(stream));
  return writer_.body(bytes, chunk);
}

Result<void> H1Codec::send_end(StreamId stream, const Headers& trailers) {
  TRY_VOID(check_stream(stream));
  if (role_ == Role::Server && answer_ == Answer::Ended) {
    if (upgrade_due_ || reading_ == Reading::Tunnel) return {};  // a switch ended with its head
    return misuse("the response has ended already");
  }
  if (auto ended = writer_.end(trailers); !ended) {
    closing_ = true;  // what was promised can no longer be kept
    return ended;
  }
  if (role_ == Role::Server) answer_ = Answer::Ended;
  return {};
}

void H1Codec::reset(StreamId /*stream*/, ResetCode /*code*/) {
  dead_ = closing_ = true;
  writer_.abandon();
}

}  // namespace tapdeck::http

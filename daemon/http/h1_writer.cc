#include "daemon/http/h1_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "daemon/http/h1_syntax.h"

namespace tapdeck::http {

namespace {

constexpr std::string_view kCrlf = "\r\n";

// One reservation for a whole head: nine appends a header would each check the queue. Heads over a chunk are rare and
// go through a string.
class HeadSink {
 public:
  HeadSink(ByteQueue& out, size_t size) : out_(out), size_(size) {
    if (size <= ByteQueue::kChunkBytes) {
      at_ = out.reserve(size).data();
    } else {
      large_.resize(size);
      at_ = large_.data();
    }
  }
  void put(std::string_view text) {
    if (text.empty()) return;  // its data() may be null
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void finish() {
    if (large_.empty()) {
      out_.commit(size_);
    } else {
      out_.append(large_);
    }
  }

 private:
  ByteQueue& out_;
  size_t size_;
  std::string large_;
  char* at_;
};

std::unexpected<Error> refuse(std::string_view what) {
  return fail(Code::Internal, "refused to send: " + std::string(what));
}

bool is_transfer_encoding(std::string_view name) {
  return name.size() == 17 && iequals(name, "transfer-encoding");
}

std::string_view version_text(Version version) {
  return version == Version::Http10 ? "HTTP/1.0 " : "HTTP/1.1 ";
}

}  // namespace

namespace {

Result<void> inspect_framing(std::string_view name, std::string_view value, H1Writer::Declared& found) {
  if (name.size() == 14 && iequals(name, "content-length")) {
    if (found.length) return refuse("Content-Length repeated");
    found.length = parse_length(value);
    if (!found.length) return refuse("Content-Length is not a number");
  } else if (is_transfer_encoding(name)) {
    if (found.chunked || !iequals(value, "chunked")) return refuse("Transfer-Encoding is not exactly 'chunked'");
    found.chunked = true;
  }
  return {};
}

}  // namespace

Result<H1Writer::Declared> H1Writer::inspect(const Headers& headers) {
  Declared found;
  bool connection = false;
  bool upgrade = false;
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    if (!is_token(name)) return refuse("header name with a byte that may not be there");
    if (!is_field_value(value)) return refuse("header value with a control byte");
    switch (name.size()) {
      case 4:
        found.hosts += iequals(name, "host") ? 1 : 0;
        break;
      case 7:
        upgrade = upgrade || iequals(name, "upgrade");
        break;
      case 10:
        connection = connection || iequals(name, "connection");
        break;
      case 14:
      case 17:
        TRY_VOID(inspect_framing(name, value, found));
        break;
      default:
        break;
    }
  }
  if (found.chunked && found.length) return refuse("Transfer-Encoding together with Content-Length");
  if (connection) {
    found.close = headers.has_token("connection", "close");
    found.keep_alive = headers.has_token("connection", "keep-alive");
    found.upgrade = upgrade && headers.has_token("connection", "upgrade");
  }
  return found;
}

void H1Writer::head(std::string_view a, std::string_view b, std::string_view c, const Headers& headers,
                    const Plan& plan) {
  const auto dropped = [&](std::string_view name) { return plan.drop_transfer_encoding && is_transfer_encoding(name); };
  size_t size = a.size() + b.size() + c.size() + kCrlf.size() + plan.add_first.size() + headers.bytes() +
                4 * headers.size() + plan.add_last.size() + plan.add_close.size() + kCrlf.size();
  for (size_t i = 0; plan.drop_transfer_encoding && i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    if (dropped(name)) size -= name.size() + value.size() + 4;
  }
  HeadSink sink(out_, size);
  for (const std::string_view text : {a, b, c, kCrlf, plan.add_first}) sink.put(text);
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    if (dropped(name)) continue;
    sink.put(name);
    sink.put(": ");
    sink.put(value);
    sink.put(kCrlf);
  }
  for (const std::string_view text : {plan.add_last, plan.add_close, kCrlf}) sink.put(text);
  sink.finish();
  framing_ = plan.framing;
  remaining_ = plan.framing == Framing::Length ? plan.length : 0;
  last_extension_.clear();
}

Result<void> H1Writer::request(const RequestHead& request, std::string_view host_line, const Plan& plan) {
  if (!is_token(request.method)) return refuse("method is not a token");
  if (request.target.empty() || !all_bytes(request.target, kTargetByte)) return refuse("byte in the request target");
  Plan with_host = plan;
  with_host.add_first = host_line;
  std::string method;
  method.reserve(request.method.size() + 1);
  method.append(request.method).append(" ");
  head(method, request.target, request.version == Version::Http10 ? " HTTP/1.0" : " HTTP/1.1", request.headers,
       with_host);
  return {};
}

Result<void> H1Writer::response(const ResponseHead& response, const Plan& plan) {
  if (response.status < 100 || response.status > 999) return refuse("status code is not three digits");
  if (!is_field_value(response.reason)) return refuse("control byte in the reason phrase");
  const char code[4] = {static_cast<char>('0' + response.status / 100),
                        static_cast<char>('0' + response.status / 10 % 10),
                        static_cast<char>('0' + response.status % 10), ' '};
  head(version_text(response.version), {code, 4}, response.reason, response.headers, plan);
  return {};
}

Result<void> H1Writer::begin_chunk(const ChunkStart& chunk) {
  if (remaining_ > 0) return refuse("a chunk that begins inside another");
  if (!is_chunk_extension(chunk.extension)) return refuse("malformed chunk extension");
  if (chunk.size == 0) {  // it would end the message, which end() does
    last_extension_ = chunk.extension;
    return {};
  }
  std::array<char, 16> hex{};
  const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), chunk.size, 16).ptr;
  out_.append({hex.data(), static_cast<size_t>(end - hex.data())});
  out_.append(chunk.extension);
  out_.append(kCrlf);
  remaining_ = chunk.size;
  return {};
}

Result<size_t> H1Writer::chunked(std::string_view bytes, const std::optional<ChunkStart>& chunk) {
  if (chunk) {
    TRY_VOID(begin_chunk(*chunk));
  } else if (remaining_ == 0) {
    if (bytes.empty()) return size_t{0};
    TRY_VOID(begin_chunk({bytes.size(), {}}));
  }
  if (bytes.size() > remaining_) return refuse("more bytes than the chunk was announced with");
  if (bytes.empty()) return size_t{0};
  out_.append(bytes);
  remaining_ -= bytes.size();
  if (remaining_ == 0) out_.append(kCrlf);
  return bytes.size();
}

Result<size_t> H1Writer::body(std::string_view bytes, const std::optional<ChunkStart>& chunk) {
  switch (framing_) {
    case Framing::Closed:
      return refuse("body without a message");
    case Framing::Discard:
      return bytes.size();
    case Framing::Chunked:
      return chunked(bytes, chunk);
    case Framing::Length:
      if (bytes.size() > remaining_) return refuse("more body than Content-Length promised");
      remaining_ -= bytes.size();
      [[fallthrough]];
    case Framing::UntilClose:
      out_.append(bytes);
      return bytes.size();
  }
  return refuse("unknown framing");
}

Result<void> H1Writer::end(const Headers& trailers) {
  if (framing_ == Framing::Closed) return refuse("end without a message");
  if (framing_ == Framing::Length && remaining_ > 0) return refuse("less body than Content-Length promised");
  if (framing_ == Framing::Chunked) {
    if (remaining_ > 0) return refuse("end inside a chunk");
    TRY(late, inspect(trailers));
    if (late.chunked || late.length) return refuse("framing header in the trailers");
    out_.append("0");
    out_.append(last_extension_);
    out_.append(kCrlf);
    for (size_t i = 0; i < trailers.size(); ++i) {
      const auto [name, value] = trailers[i];
      for (const std::string_view text : {name, std::string_view(": "), value, kCrlf}) out_.append(text);
    }
    out_.append(kCrlf);
  }
  framing_ = Framing::Closed;
  return {};
}

}  // namespace tapdeck::http

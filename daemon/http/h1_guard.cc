#include "daemon/http/h1_guard.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/http/h1_syntax.h"

namespace tapdeck::http {

// ---- lines

Result<std::optional<std::string_view>> H1LineReader::next(ByteQueue& in, size_t limit, Origin origin) {
  while (!in.empty()) {
    // One byte past the limit is enough to know, and keeps the verdict independent of how the bytes arrived.
    const std::string_view piece = in.front().substr(0, limit + 1 - std::min(limit, held_.size()));
    if (!held_.empty() && held_.back() == '\r') {
      if (piece.front() != '\n') return fail(Code::Protocol, "lone CR in a line", origin);
      in.consume(1);
      held_.push_back('\n');
      whole_ = true;
      return std::string_view(held_).substr(0, held_.size() - 2);
    }
    const size_t cr = piece.find('\r');
    const std::string_view before = piece.substr(0, cr);
    if (before.find('\n') != std::string_view::npos) return fail(Code::Protocol, "line end without CR", origin);
    if (held_.size() + before.size() + (cr == std::string_view::npos ? 0 : 2) > limit) {
      return std::unexpected(head_limit(origin));
    }
    if (cr != std::string_view::npos && held_.empty() && cr + 1 < piece.size()) {
      if (piece[cr + 1] != '\n') return fail(Code::Protocol, "lone CR in a line", origin);
      whole_ = true;
      consume_ = cr + 2;
      return before;  // the common case: the line is read where it lies
    }
    const std::string_view take = cr == std::string_view::npos ? piece : piece.substr(0, cr + 1);
    held_.append(take);
    in.consume(take.size());
  }
  return std::nullopt;
}

void H1LineReader::release(ByteQueue& in) {
  in.consume(consume_);
  consume_ = 0;
  whole_ = false;
  held_.clear();
}

// ---- judgement

H1Guard::H1Guard(Role role, Limits limits)
    : role_(role), limits_(limits), origin_(role == Role::Server ? Origin::Downstream : Origin::Upstream) {}

std::string H1Guard::complaint(std::string_view what) const {
  std::string detail = role_ == Role::Server ? "malformed request: " : "malformed response: ";
  detail += what;
  return detail;
}

std::unexpected<Error> H1Guard::bad(std::string_view what) const {
  return fail(Code::Protocol, complaint(what), origin_);
}

std::unexpected<Error> H1Guard::ambiguous(std::string_view what) {
  note_ambiguity();
  return bad(what);
}

void H1Guard::begin() {
  used_ = extension_bytes_ = 0;
  version_ = Version::Http11;
  framing_ = Framing::None;
  length_.reset();
  hosts_ = 0;
  chunked_ = close_ = keep_alive_ = upgrade_token_ = upgrade_field_ = expect_continue_ = false;
}

namespace {

std::optional<Version> parse_version(std::string_view text) {
  if (text == "HTTP/1.1") return Version::Http11;
  if (text == "HTTP/1.0") return Version::Http10;
  return std::nullopt;
}

}  // namespace

Result<void> H1Guard::request_line(std::string_view line, RequestHead& head) {
  used_ += line.size() + 2;
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return bad("the request line has no target");
  const size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return bad("the request line has no version (HTTP/0.9)");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  if (!is_token(method)) return bad("method is not a token");
  if (target.empty() || !all_bytes(target, kTargetByte)) return bad("byte in the request target that may not be there");
  const std::string_view version_text = line.substr(second + 1);
  // Three words and none of them HTTP: somebody who would not understand an answer in HTTP/1 either.
  if (!version_text.starts_with("HTTP/") && is_token(version_text)) {
    return fail(Code::Closed, "the first line is not one of HTTP", origin_);
  }
  const auto version = parse_version(version_text);
  if (!version) return bad("version is neither HTTP/1.1 nor HTTP/1.0");
  if (!is_known_method(method)) {
    return fail(Code::Unsupported, "method " + std::string(method.substr(0, 32)) + " is not implemented", origin_);
  }
  head.method.assign(method);
  head.target.assign(target);
  head.version = version_ = *version;
  return {};
}

Result<void> H1Guard::status_line(std::string_view line, ResponseHead& head) {
  used_ += line.size() + 2;
  const auto version = parse_version(line.substr(0, 8));
  if (!version) return bad("the status line does not begin with HTTP/1.1 or HTTP/1.0");
  if (line.size() < 12 || line[8] != ' ' || !all_bytes(line.substr(9, 3), kDigitByte)) {
    return bad("the status code is not three digits");
  }
  const int status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (status < 100) return bad("the status code is below 100");
  std::string_view reason = line.substr(12);
  // "HTTP/1.1 200" without the last space is sent by real servers and is unambiguous.
  if (!reason.empty() && reason.front() != ' ') return bad("the status code is not three digits");
  if (!reason.empty()) reason.remove_prefix(1);
  if (!is_field_value(reason)) return bad("control byte in the reason phrase");
  head.status = status;
  head.reason.assign(reason);
  head.version = version_ = *version;
  return {};
}

Error head_limit(Origin origin) {
  return {Code::TooLarge, "head longer than the limit", origin, Retry::No, 0};
}

Error field_limit(Origin origin) {
  return {Code::TooLarge, "more header fields than the limit", origin, Retry::No, E2BIG};
}

bool is_field_limit(const Error& error) {
  return error.code == Code::TooLarge && error.sys_errno == E2BIG;
}

std::string_view H1Guard::without_padding(std::string_view text) const {
  while (role_ == Role::Client && (text.ends_with(' ') || text.ends_with('\t'))) text.remove_suffix(1);
  return text;
}

Result<void> H1Guard::add_field(std::string_view line, Headers& to) {
  used_ += line.size() + 2;
  if (to.size() >= limits_.headers) return std::unexpected(field_limit(origin_));
  if (line.front() == ' ' || line.front() == '\t') return ambiguous("line folding");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return ambiguous("header line without a colon");
  const std::string_view name = without_padding(line.substr(0, colon));
  if (!is_token(name))
    return ambiguous(name.empty() ? "empty header name" : "byte in a header name that may not be there");
  const std::string_view value = line.substr(colon + 1);
  if (!is_field_value(value)) return ambiguous("control byte in a header value");
  to.add(name, trim_ows(value));
  return {};
}

Result<void> H1Guard::field(std::string_view line, Headers& headers) {
  TRY_VOID(add_field(line, headers));
  const auto [name, value] = headers[headers.size() - 1];
  switch (name.size()) {  // most fields end here without a comparison
    case 4:
    case 6:
    case 7:
    case 10:
    case 14:
    case 17:
      return framing_field(name, value);
    default:
      return {};
  }
}

Result<void> H1Guard::framing_field(std::string_view name, std::string_view value) {
  if (iequals(name, "content-length")) return content_length(value);
  if (iequals(name, "transfer-encoding")) return transfer_encoding(value);
  if (iequals(name, "connection")) connection(value);
  if (iequals(name, "upgrade")) upgrade_field_ = true;
  if (iequals(name, "expect") && iequals(value, "100-continue")) expect_continue_ = true;
  if (iequals(name, "host") && role_ == Role::Server) {
    if (++hosts_ > 1) return bad("Host repeated");
    if (!is_authority(value)) return bad("Host is not a host and port");
  }
  return {};
}

Result<void> H1Guard::content_length(std::string_view value) {
  if (length_) return ambiguous("Content-Length repeated");
  length_ = parse_length(value);
  if (!length_) return ambiguous("Content-Length is not one plain number");
  return {};
}

Result<void> H1Guard::transfer_encoding(std::string_view value) {
  if (chunked_) return ambiguous("Transfer-Encoding repeated");
  if (!iequals(value, "chunked")) return ambiguous("Transfer-Encoding is not exactly 'chunked'");
  chunked_ = true;
  return {};
}

void H1Guard::connection(std::string_view value) {
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view token = trim_ows(value.substr(0, comma));
    if (iequals(token, "close")) close_ = true;
    if (iequals(token, "keep-alive")) keep_alive_ = true;
    if (iequals(token, "upgrade")) upgrade_token_ = true;
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

Result<void> H1Guard::finish_request(RequestHead& head, std::string_view scheme) {
  used_ += 2;
  if (chunked_ && length_) return ambiguous("Transfer-Encoding together with Content-Length");
  if (chunked_ && version_ == Version::Http10) return ambiguous("Transfer-Encoding in HTTP/1.0");
  if (hosts_ == 0 && version_ == Version::Http11) return bad("HTTP/1.1 without Host");
  TRY_VOID(check_target(head, scheme));
  if (head.method == "CONNECT" && (chunked_ || length() > 0)) return ambiguous("CONNECT with a body");
  framing_ = chunked_ ? Framing::Chunked : length() > 0 ? Framing::Length : Framing::None;
  return {};
}

Result<void> H1Guard::finish_response(const ResponseHead& head, Body body) {
  used_ += 2;
  if (chunked_ && length_) return ambiguous("Transfer-Encoding together with Content-Length");
  if (chunked_ && version_ == Version::Http10) return ambiguous("Transfer-Encoding in HTTP/1.0");
  const bool never_a_body = head.status < 200 || head.status == 204;
  if (never_a_body && (chunked_ || length() > 0)) return bad("1xx or 204 that announces a body");
  if (never_a_body || head.status == 304 || body == Body::None) {
    framing_ = Framing::None;
  } else if (chunked_) {
    framing_ = Framing::Chunked;
  } else if (length_) {
    framing_ = *length_ > 0 ? Framing::Length : Framing::None;
  } else {
    framing_ = Framing::UntilClose;
  }
  return {};
}

// RFC 9112 section 3.2: which of the four target forms, and what the authority is.
Result<void> H1Guard::check_target(RequestHead& head, std::string_view scheme) {
  head.scheme.assign(scheme);
  if (head.method == "CONNECT") {
    if (!is_authority_with_port(head.target)) return bad("CONNECT target is not host:port");
    head.authority = head.target;
    return {};
  }
  if (head.target.front() != '/' && !(head.target == "*" && head.method == "OPTIONS")) return absolute_target(head);
  if (const auto host = head.headers.find("host")) head.authority.assign(*host);
  return {};
}

Result<void> H1Guard::absolute_target(RequestHead& head) {
  const std::string_view target = head.target;
  const size_t mark = target.find("://");
  if (mark == std::string_view::npos) return bad("request target of no known form");
  const std::string_view scheme = target.substr(0, mark);
  if (!iequals(scheme, "http") && !iequals(scheme, "https")) return bad("scheme of the target is not http or https");
  const std::string_view rest = target.substr(mark + 3);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (!is_authority(authority)) return bad("authority of the target is not a host and port");
  head.scheme = iequals(scheme, "https") ? "https" : "http";
  head.authority.assign(authority);
  // RFC 9112 3.2.2: the target wins, and a proxy must not let a different Host travel on.
  if (const auto host = head.headers.find("host"); host && *host != authority) head.headers.set("Host", head.authority);
  return {};
}

Result<ChunkStart> H1Guard::chunk_line(std::string_view line) {
  const size_t semicolon = line.find(';');
  const auto size = parse_chunk_size(chunk_digits(line));
  if (!size) return ambiguous("chunk size is not a plain hexadecimal number");
  const std::string_view extension = line.substr(std::min(semicolon, line.size()));
  if (!is_chunk_extension(extension)) return ambiguous("malformed chunk extension");
  extension_bytes_ += extension.size();
  if (extension_bytes_ > kExtensionBytes) return bad("chunk extensions longer than 16384 bytes");
  if (*size == 0) used_ = 0;  // the trailer section has limits of its own
  return ChunkStart{*size, extension};
}

Result<void> H1Guard::trailer(std::string_view line, Headers& trailers) {
  TRY_VOID(add_field(line, trailers));
  const std::string_view name = trailers[trailers.size() - 1].name;
  // RFC 9110 6.5.1: fields that frame or route must not come late.
  if (iequals(name, "content-length") || iequals(name, "transfer-encoding") || iequals(name, "host")) {
    return ambiguous("trailer field that only a head may have");
  }
  return {};
}

}  // namespace tapdeck::http

#include "daemon/http/h2_heads.h"

#include "daemon/http/h1_syntax.h"

namespace tapdeck::http {

namespace {
constexpr size_t kFieldOverhead = 32;
constexpr size_t kHopeless = 4;

struct Entity {
  std::string_view host, port;
};

// RFC 9113 8.3.1: what an authority identifies. A port that is left out or empty is the scheme's (RFC 3986 6.2.3).
Entity entity_of(std::string_view authority, std::string_view scheme) {
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != std::string_view::npos && !authority.substr(colon).contains(']');
  Entity entity{authority.substr(0, has_port ? colon : authority.size()), {}};
  if (has_port) entity.port = authority.substr(colon + 1);
  if (entity.port.empty() && scheme == "https") entity.port = "443";
  if (entity.port.empty() && scheme == "http") entity.port = "80";
  return entity;
}

bool is_same_entity(std::string_view one, std::string_view other, std::string_view scheme) {
  const Entity left = entity_of(one, scheme);
  const Entity right = entity_of(other, scheme);
  return iequals(left.host, right.host) && left.port == right.port;
}
}  // namespace

void H2HeadReader::begin(Block block, RequestHead& request, ResponseHead& response, Headers& trailers) {
  block_ = block;
  request_ = &request;
  response_ = &response;
  bytes_ = count_ = 0;
  too_large_ = too_many_ = framing_field_ = false;
  switch (block) {
    case Block::Request:
      request.clear();
      request.version = Version::Http2;
      fields_ = &request.headers;
      break;
    case Block::Response:
      response.clear();
      response.version = Version::Http2;
      fields_ = &response.headers;
      break;
    case Block::Trailers:
      trailers.clear();
      fields_ = &trailers;
      break;
  }
}

H2HeadReader::Fit H2HeadReader::add(std::string_view name, std::string_view value) {
  bytes_ += name.size() + value.size() + kFieldOverhead;
  count_ += name.starts_with(':') ? 0 : 1;
  if (bytes_ > limits_.head_bytes || count_ > limits_.headers) {
    too_large_ = true;
    too_many_ = bytes_ <= limits_.head_bytes;
    return bytes_ > kHopeless * limits_.head_bytes || count_ > kHopeless * limits_.headers ? Fit::Hopeless
                                                                                           : Fit::TooLarge;
  }
  if (name.starts_with(':')) {
    pseudo(name, value);
    return Fit::Fits;
  }
  if (name == "content-length" || name == "transfer-encoding") framing_field_ = true;
  fields_->add(name, value);
  return Fit::Fits;
}

void H2HeadReader::pseudo(std::string_view name, std::string_view value) {
  if (name == ":status") {
    if (value.size() != 3 || !all_bytes(value, kDigitByte)) return;  // nghttp2 refuses it too; status stays 0
    response_->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
  } else if (name == ":method") {
    request_->method = value;
  } else if (name == ":path") {
    request_->target = value;
  } else if (name == ":scheme") {
    request_->scheme = value;
  } else if (name == ":authority") {
    request_->authority = value;
  } else if (name == ":protocol") {
    request_->protocol = value;
  }
}

std::optional<std::string_view> H2HeadReader::finish() {
  switch (block_) {
    case Block::Request:
      return finish_request();
    case Block::Response:
      if (response_->status < 100) return "a status below 100";
      return std::nullopt;
    case Block::Trailers:
      if (framing_field_) return "a framing field in the trailers";
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::string_view> H2HeadReader::finish_request() {
  RequestHead& head = *request_;
  if (!is_token(head.method)) return "the method is not a token";
  if (const auto host = head.headers.find("host")) {
    if (head.authority.empty()) {
      head.authority = *host;
    } else if (!is_same_entity(head.authority, *host, head.scheme)) {
      return "Host is not :authority";
    }
  }
  if (!is_authority(head.authority)) return "no proper :authority";
  if (head.method == "CONNECT" && framing_field_) return "CONNECT with a length";  // a tunnel's bytes are no body
  if (asks_for_tunnel(head)) {
    if (!is_authority_with_port(head.authority)) return "CONNECT without a port";
    head.target = head.authority;
    return std::nullopt;
  }
  if (!head.protocol.empty() && (head.method != "CONNECT" || !is_token(head.protocol))) {
    return "a :protocol that nobody can connect";
  }
  if (head.scheme != "http" && head.scheme != "https") return "neither http nor https";
  if (!all_bytes(head.target, kTargetByte)) return "a byte in :path that is no URI's";
  if (!head.target.starts_with('/') && !(head.target == "*" && head.method == "OPTIONS")) return "the form of :path";
  return std::nullopt;
}

}  // namespace tapdeck::http

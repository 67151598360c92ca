#include "daemon/exchange/error_response.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "daemon/base/json_text.h"

namespace tapdeck::exchange {

Error body_limit(Origin whose) {
  const std::string what = whose == Origin::Upstream ? "the response body" : "the request body";
  return {Code::TooLarge, what + " is longer than limits.max_body", whose, Retry::No, EMSGSIZE};
}

bool is_body_limit(const Error& error) {
  return error.code == Code::TooLarge && error.sys_errno == EMSGSIZE;
}

int status_of(const Error& error) {
  const bool upstream = error.origin == Origin::Upstream;
  switch (error.code) {
    case Code::Timeout:
      return upstream ? 504 : 408;
    case Code::Refused:
    case Code::Reset:
    case Code::Closed:
    case Code::Unreachable:
    case Code::Dns:
    case Code::Tls:
    case Code::TlsVerify:
      return 502;
    case Code::Truncated:
      return error.origin == Origin::Downstream ? 400 : 502;
    case Code::Protocol:
      return upstream ? 502 : 400;
    case Code::TooLarge:
      return upstream ? 502 : is_body_limit(error) ? 413 : 431;
    case Code::Unsupported:
      return upstream ? 502 : 501;
    case Code::InvalidArgument:
    case Code::InvalidConfig:
      return upstream ? 502 : 400;
    case Code::Exhausted:
    case Code::Busy:
      return upstream ? 502 : 503;
    case Code::Cancelled:
      return 503;
    case Code::Permission:
      if (error.origin == Origin::Downstream) return 403;  // what the client asked for is never done
      return upstream ? 502 : 500;
    case Code::NotFound:
    case Code::AlreadyExists:
    case Code::Io:
    case Code::NoSpace:
    case Code::Corrupt:
    case Code::Internal:
      return upstream ? 502 : 500;
  }
  return 500;
}

std::string_view name_of(const Error& error) {
  const bool upstream = error.origin == Origin::Upstream;
  switch (error.code) {
    case Code::Timeout:
      return upstream ? "upstream_timeout" : "request_timeout";
    case Code::Reset:
    case Code::Closed:
      return upstream ? "upstream_reset" : "client_gone";
    case Code::Truncated:
      return upstream ? "upstream_truncated" : "request_truncated";
    case Code::Dns:
      return "upstream_dns";
    case Code::Tls:
    case Code::TlsVerify:
      return upstream ? "upstream_tls" : "client_tls";
    case Code::Protocol:
      return upstream ? "upstream_protocol" : "bad_request";
    case Code::TooLarge:
      if (is_body_limit(error)) return upstream ? "upstream_too_large" : "body_too_large";
      return upstream ? "upstream_protocol" : "too_large";
    case Code::Unsupported:
      return upstream ? "upstream_protocol" : "unknown_method";
    case Code::Cancelled:
      return "shutting_down";
    case Code::InvalidArgument:
    case Code::InvalidConfig:
      return upstream ? "upstream_connect" : "bad_request";
    case Code::Refused:
    case Code::Unreachable:
    case Code::Exhausted:
    case Code::Busy:
    case Code::NotFound:
    case Code::AlreadyExists:
      return upstream ? "upstream_connect" : "internal";
    case Code::Permission:
      if (error.origin == Origin::Downstream) return "refused_destination";
      return upstream ? "upstream_connect" : "internal";
    case Code::Io:
    case Code::NoSpace:
    case Code::Corrupt:
    case Code::Internal:
      return upstream ? "upstream_connect" : "internal";
  }
  return "internal";
}

Counter counter_of(const Error& error) {
  switch (error.code) {
    case Code::Timeout:
      return Counter::UpstreamTimeout;
    case Code::Refused:
      return Counter::UpstreamRefused;
    case Code::Reset:
    case Code::Closed:
      return Counter::UpstreamReset;
    case Code::Truncated:
      return Counter::UpstreamTruncated;
    case Code::Dns:
      return Counter::UpstreamDns;
    case Code::Tls:
    case Code::TlsVerify:
      return Counter::UpstreamTls;
    case Code::Protocol:
    case Code::TooLarge:
    case Code::Unsupported:
      return Counter::UpstreamProtocol;
    default:
      return Counter::UpstreamUnreachable;
  }
}

std::optional<Counter> refusal_counter_of(const Error& error) {
  switch (error.code) {
    case Code::TooLarge:
      return http::is_field_limit(error) ? Counter::LimitHeaderCount : Counter::LimitHeadBytes;
    case Code::Unsupported:
      return Counter::UnknownMethod;
    case Code::Closed:
      return Counter::BadRequest;
    default:
      return std::nullopt;
  }
}

std::optional<Counter> refusal_counter_of(const Error& error, const http::Codec& ended) {
  return ended.ended_ambiguously() ? Counter::SmugglingRefused : refusal_counter_of(error);
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

namespace {

std::string hint_of(const Error& error) {
  if (error.code != Code::TlsVerify || error.origin != Origin::Upstream) return {};
  // By OpenSSL's words, which is all that came this far: another CA mends neither a name nor a date.
  const bool lacks_issuer = error.detail.contains("issuer") || error.detail.contains("self-signed") ||
                            error.detail.contains("first certificate");
  return std::string(",\"hint\":\"") +
         (lacks_issuer ? "an origin of your own: --upstream-ca FILE or tls.upstream_ca; " : "") +
         "one to leave alone: bypass\"";
}

}  // namespace

std::string_view name_of(const Error& error, const Facts& facts) {
  return error.code == Code::Cancelled && facts.client_left ? "client_gone" : name_of(error);
}

namespace {

// For people. What a limit says about itself needs no errno.
std::string text_of(const Error& error) {
  return error.code == Code::TooLarge ? error.detail : error.message();
}

}  // namespace

void note_failure(Facts& facts, const Error& error) {
  if (!facts.error.empty()) return;
  facts.error = name_of(error, facts);
  facts.error_detail = facts.error == "client_gone" ? "the client left" : text_of(error);
}

std::string json_of(const Error& error, std::string_view destination) {
  return "{\"error\":" + json_string(name_of(error)) + ",\"detail\":" + json_string(text_of(error)) +
         ",\"destination\":" + json_string(destination) + hint_of(error) + "}\n";
}

net::Task<Result<void>> respond_failure(Exchange& exchange, Error error) {
  note_failure(exchange.facts(), error);
  if (exchange.response_started()) co_return std::unexpected(error);  // the session has answered in our place
  std::string body = json_of(error, exchange.flow().destination_text());
  co_return co_await respond_json(exchange, status_of(error), std::move(body));
}

}  // namespace tapdeck::exchange

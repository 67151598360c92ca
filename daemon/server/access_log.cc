#include "daemon/server/access_log.h"

#include "daemon/base/log.h"

namespace tapdeck::server {
namespace {

// Of the absolute form only the path: scheme and host have fields of their own.
std::string origin_form(const std::string& target) {
  const size_t scheme = target.starts_with('/') ? std::string::npos : target.find("://");
  if (scheme == std::string::npos) return target;
  const size_t path = target.find_first_of("/?#", scheme + 3);
  if (path == std::string::npos) return "/";
  return (target[path] == '/' ? "" : "/") + target.substr(path);
}

// The whole of it, for people. Of CONNECT and "OPTIONS *" there is no path.
std::string url_of(const exchange::Exchange& exchange, const std::string& printable_target) {
  const http::RequestHead& request = exchange.request();
  if (!printable_target.starts_with('/') && printable_target != "*") return printable_target;
  const std::string place = request.authority.empty() ? exchange.flow().destination_text() : request.authority;
  return request.scheme + "://" + place + (printable_target == "*" ? "" : printable_target);
}

std::string detail_of(const exchange::Facts& facts) {
  if (facts.error_detail.empty() || facts.not_matched.empty()) return facts.error_detail + facts.not_matched;
  return facts.error_detail + "; " + facts.not_matched;
}

}  // namespace

std::string AccessLog::printable_target(const std::string& target) const {
  std::string printable = origin_form(target);
  if (options_.url == config::LogUrl::Full) return printable;
  const size_t query = printable.find_first_of("?#");
  if (options_.url == config::LogUrl::Path || redactor_ == nullptr) {
    if (query != std::string::npos) printable.resize(query);
    return printable;
  }
  const uint64_t hidden = redactor_->redact_target(printable);
  if (hidden > 0) metrics_.add(Counter::RedactedLog, hidden);
  return printable;
}

void AccessLog::count(exchange::Exchange& exchange, double seconds) {
  const exchange::Facts& facts = exchange.facts();
  metrics_.count_request(exchange.flow().identity.label, facts.mode, facts.outcome, facts.status);
  metrics_.observe_request(facts.mode, facts.outcome, seconds);
  const exchange::BodyBytes whole{facts.request_bytes, facts.response_bytes};
  const exchange::BodyBytes bytes = facts.before_tunnel.value_or(whole);
  metrics_.add(Counter::BytesUp, bytes.up);
  metrics_.add(Counter::BytesDown, bytes.down);
  if (!facts.upstream_wait) return;
  metrics_.observe(Histogram::UpstreamFirstByte, std::chrono::duration<double>(*facts.upstream_wait).count());
}

void AccessLog::finished(exchange::Exchange& exchange) {
  exchange::Facts& facts = exchange.facts();
  const double seconds = std::chrono::duration<double>(exchange::Clock::now() - facts.began).count();
  if (!facts.is_nested) count(exchange, seconds);
  const bool is_told = facts.outcome == Outcome::Missed && misses_ != nullptr;
  if (!is_told && !log::access_enabled()) return;
  const std::string url = printable_target(exchange.request().target);
  const std::string detail = detail_of(facts);
  if (is_told) {
    misses_->add({exchange.request().method, url_of(exchange, url), detail.empty() ? facts.error : detail});
  }
  if (!log::access_enabled()) return;
  const exchange::CapturedFlow& flow = exchange.flow();
  log::access("exchange", {{"http.request.method", exchange.request().method},
                           {"url.scheme", exchange.request().scheme},
                           {"server.address", exchange.request().authority},
                           {"url.path", url},
                           {"http.response.status_code", facts.status},
                           {"duration_ms", seconds * 1000},
                           {"request_bytes", facts.request_bytes},
                           {"response_bytes", facts.response_bytes},
                           {"mode", to_string(facts.mode)},
                           {"outcome", to_string(facts.outcome)},
                           {"recording", facts.recording},
                           {"target", static_cast<unsigned>(exchange.flow().identity.target)},
                           {"client.address", flow.client.to_string()},
                           {"destination", facts.route != nullptr ? facts.route->to_string() : flow.destination_text()},
                           {"pid", flow.identity.pid},
                           {"comm", flow.identity.comm},
                           {"sni", exchange.tls().sni},
                           {"tls", exchange.tls().version},
                           {"error.type", facts.error},
                           {"error", detail}});
}

void AccessLog::refused(const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls, const Error& error) {
  // What is no HTTP at all is none of the client's requests that failed.
  const log::Level level = error.code == Code::Closed ? log::Level::Info : log::Level::Warn;
  log::peer(level, "request.refused", error.detail,
            {{"target", static_cast<unsigned>(flow.identity.target)},
             {"client.address", flow.client.to_string()},
             {"destination", flow.destination_text()},
             {"pid", flow.identity.pid},
             {"comm", flow.identity.comm},
             {"sni", tls.sni},
             {"tls", tls.version}});
}

}  // namespace tapdeck::server

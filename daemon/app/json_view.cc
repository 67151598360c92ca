#include "daemon/app/json_view.h"

#include <cstdio>
#include <ctime>

#include "daemon/base/json_text.h"

namespace tapdeck::app {
namespace {

Json headers_view(const http::Headers& headers) {
  Json out = Json::array();
  for (size_t i = 0; i < headers.size(); ++i) {
    out.push_back({std::string(headers[i].name), std::string(headers[i].value)});
  }
  return out;
}

Json body_view(const store::BodyRef& body) {
  return {{"bytes", body.size}, {"segments", body.segments.size()}, {"pieces", body.timeline.size()}};
}

// Payloads are in the bodies: `offset` and `bytes` say where.
Json messages_view(const std::vector<store::Message>& messages) {
  Json out = Json::array();
  for (const store::Message& message : messages) {
    Json one = {{"from", message.side == store::BodySide::Request ? "client" : "origin"},
                {"kind", store::to_string(message.kind)},
                {"milliseconds", static_cast<double>(message.microseconds) / 1000.0},
                {"offset", message.offset},
                {"bytes", message.length},
                {"compressed", message.compressed}};
    if (message.kind == store::Message::Kind::Close) one["code"] = message.code;
    out.push_back(std::move(one));
  }
  return out;
}

Json provenance_view(const store::Provenance& from) {
  return {{"target", from.target},
          {"capture_path", from.capture_path},
          {"client", from.client.to_string()},
          {"destination", from.original_destination.to_string()},
          {"pid", from.pid},
          {"uid", from.uid},
          {"comm", from.comm},
          {"cgroup_id", from.cgroup_id},
          {"netns_cookie", from.netns_cookie},
          {"sni", from.sni},
          {"alpn", from.alpn},
          {"tls_version", from.tls_version},
          {"peer_certificate_sha256", from.peer_certificate_sha256},
          {"upstream_verify_failure", from.upstream_verify_failure},
          {"route", from.route},
          {"microseconds",
           {{"dns", from.timings.dns},
            {"connect", from.timings.connect},
            {"tls", from.timings.tls},
            {"first_byte", from.timings.first_byte},
            {"total", from.timings.total}}}};
}

}  // namespace

std::string format_time(int64_t unix_us) {
  if (unix_us == 0) return "";
  const auto seconds = static_cast<std::time_t>(unix_us / 1'000'000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>(unix_us / 1000 % 1000));
  return text;
}

Json session_view(const store::SessionInfo& session) {
  return {{"name", session.name},
          {"active", session.active},
          {"takes", session.takes},
          {"recordings", session.recordings},
          {"bytes", session.bytes},
          {"created", format_time(session.created_unix_us)},
          {"last_recorded", format_time(session.last_recorded_unix_us)}};
}

Json recording_row(const store::Recording& recording) {
  return {{"id", std::to_string(recording.id)},
          {"session", recording.session},
          {"take", recording.take},
          {"time", format_time(recording.started_unix_us)},
          {"method", recording.request.method},
          {"url", recording.url()},
          {"status", recording.response.status},
          {"outcome", store::to_string(recording.outcome.kind)},
          {"bytes", recording.response_body.size},
          {"target", recording.provenance.target},
          {"process", recording.provenance.comm},
          {"milliseconds", static_cast<double>(recording.provenance.timings.total) / 1000.0}};
}

Json recording_view(const store::Recording& recording) {
  Json out = recording_row(recording);
  out["key"] = store::to_hex(recording.key.bytes);
  out["request"] = {{"method", recording.request.method},
                    {"target", recording.request.target},
                    {"version", http::to_string(recording.request.version)},
                    {"headers", headers_view(recording.request.headers)},
                    {"body", body_view(recording.request_body)},
                    {"trailers", headers_view(recording.request_trailers)}};
  Json informational = Json::array();
  for (const http::ResponseHead& head : recording.informational) {
    informational.push_back(
        {{"status", head.status}, {"reason", head.reason}, {"headers", headers_view(head.headers)}});
  }
  out["informational"] = std::move(informational);
  out["response"] = {{"status", recording.response.status},
                     {"reason", recording.response.reason},
                     {"version", http::to_string(recording.response.version)},
                     {"headers", headers_view(recording.response.headers)},
                     {"body", body_view(recording.response_body)},
                     {"trailers", headers_view(recording.response_trailers)}};
  if (!recording.messages.empty()) out["messages"] = messages_view(recording.messages);
  out["ended"] = {{"kind", store::to_string(recording.outcome.kind)},
                  {"at_bytes", recording.outcome.at_bytes},
                  {"reason", recording.outcome.reason}};
  // Of an HTTP/2 reset 0 is a code as well.
  const bool is_h2_reset =
      recording.outcome.kind == store::Outcome::Kind::Reset && recording.response.version == http::Version::Http2;
  if (recording.outcome.code != 0 || is_h2_reset) out["ended"]["code"] = recording.outcome.code;
  out["provenance"] = provenance_view(recording.provenance);
  return out;
}

Json target_view(const TargetStatus& target) {
  Json out = {{"id", std::to_string(target.id)},
              {"name", target.settings.shown()},
              {"target", target.settings.spec.to_string()},
              {"state", to_string(target.state)},
              {"detail", target.detail},
              {"session", nullptr},
              {"mode", nullptr},
              {"sealed", target.settings.sealed},
              {"strict", target.settings.strict},
              {"display", target.display},
              {"captured", target.captured},
              {"attached", format_time(target.attached_at_ms * 1000)},
              {"trust", target.trust},
              {"trust_skipped", target.trust_skipped},
              {"gaps", target.gaps},
              {"gap_milliseconds", target.gap_total.count()},
              {"uncaptured", Json::object()}};
  if (target.settings.session) out["session"] = *target.settings.session;
  if (target.settings.mode) out["mode"] = to_string(*target.settings.mode);
  for (const auto& [reason, count] : target.uncaptured) out["uncaptured"][reason] = count;
  return out;
}

Json done_view(std::string_view what, const std::string& name) {
  return {{"done", what}, {"name", name}};
}

std::string dump(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  escape_controls(text);  // it may be read on a terminal
  return text;
}

}  // namespace tapdeck::app

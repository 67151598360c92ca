#include "daemon/app/client.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "daemon/admin/message.h"
#include "daemon/app/json_view.h"
#include "daemon/http/h1_codec.h"

namespace tapdeck::app {
namespace {

// Attach asks container engines and import reads files; longer than either, shorter than a person's patience.
constexpr timeval kPatience = {.tv_sec = 300, .tv_usec = 0};

std::string query_of(std::initializer_list<std::pair<std::string_view, std::string>> values) {
  std::string out;
  for (const auto& [name, value] : values) {
    if (value.empty()) continue;
    out += out.empty() ? '?' : '&';
    out += std::string(name) + "=" + admin::encode_segment(value);
  }
  return out;
}

std::string query_of(const admin::Page& page) {
  return query_of({{"cursor", page.cursor}, {"limit", std::to_string(page.limit)}});
}

// Those that are said: an empty one is not.
Json members(std::initializer_list<std::pair<const char*, std::string>> values) {
  Json out = Json::object();
  for (const auto& [name, value] : values) {
    if (!value.empty()) out[name] = value;
  }
  return out;
}

// The Error that an error body describes; the text itself when it is none of ours.
Error error_of(int status, const std::string& body) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("error") || !json["error"].is_string() || !json.contains("detail") ||
      !json["detail"].is_string()) {
    return {.code = Code::Protocol, .detail = "the daemon answered status " + std::to_string(status)};
  }
  Error out{.code = Code::Internal, .detail = json["detail"].get<std::string>()};
  const std::string name = json["error"].get<std::string>();
  for (int code = 0; code <= static_cast<int>(Code::Internal); ++code) {
    if (to_string(static_cast<Code>(code)) == name) out.code = static_cast<Code>(code);
  }
  return out;
}

}  // namespace

RemoteControl::RemoteControl(UniqueFd fd)
    : fd_(std::move(fd)), codec_(http::make_h1_codec(http::Role::Client, {.head_bytes = 65536, .headers = 64})) {}
RemoteControl::~RemoteControl() = default;

Result<std::unique_ptr<RemoteControl>> RemoteControl::connect(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.string().size() >= sizeof address.sun_path) return fail(Code::InvalidArgument, "socket path is too long");
  std::memcpy(address.sun_path, socket.c_str(), socket.string().size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return fail_errno(errno, "socket");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "ask the daemon at " + socket.string());
  }
  return std::unique_ptr<RemoteControl>(new RemoteControl(std::move(fd)));
}

Result<void> RemoteControl::write_all() {
  std::string bytes = codec_->output().to_string();
  codec_->output().consume(bytes.size());
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "ask the daemon");
    sent += static_cast<size_t>(n);
  }
  return {};
}

Result<RemoteControl::Answer> RemoteControl::exchange(const std::string& method, const std::string& target,
                                                      const std::string& body) {
  http::RequestHead head;
  head.method = method;
  head.target = target;
  head.scheme = "http";
  head.authority = "localhost";
  head.headers.add("Host", "localhost");
  const auto end = body.empty() ? http::EndStream::Yes : http::EndStream::No;
  if (!body.empty()) {
    head.headers.add("Content-Type", "application/json");
    head.headers.add("Content-Length", std::to_string(body.size()));
  }
  TRY(stream, codec_->send_request(head, end));
  if (!body.empty()) {
    TRY_VOID(codec_->send_body(stream, body));
    TRY_VOID(codec_->send_end(stream, {}));
  }
  TRY_VOID(write_all());
  Answer answer;
  char buffer[16384];
  while (true) {
    TRY(event, codec_->next());
    if (!event) {
      const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, "wait for the daemon's answer");
      if (n == 0) TRY_VOID(codec_->end_of_input());
      codec_->input().append({buffer, static_cast<size_t>(n)});
      continue;
    }
    if (std::holds_alternative<http::HeadReceived>(*event)) answer.status = codec_->response_head().status;
    if (const auto* piece = std::get_if<http::BodyReceived>(&*event)) {
      answer.body += piece->bytes;
      codec_->consumed(piece->stream, piece->bytes.size());
    }
    if (std::holds_alternative<http::MessageComplete>(*event)) return answer;
  }
}

Result<std::string> RemoteControl::ask(const std::string& method, const std::string& target, const std::string& body) {
  TRY(answer, exchange(method, target, body));
  if (answer.status >= 400) return std::unexpected(error_of(answer.status, answer.body));
  return std::move(answer.body);
}

namespace {
std::string session_path(const std::string& name, const char* what = "") {
  return "/api/v1/sessions/" + admin::encode_segment(name) + what;
}
std::string recording_path(const std::string& id) {
  return "/api/v1/recordings/" + admin::encode_segment(id);
}
}  // namespace

admin::Readiness RemoteControl::readiness() {
  auto answer = exchange("GET", "/readyz", "");
  if (!answer) return {.ready = false, .reason = answer.error().message()};
  return {.ready = answer->status == 200, .reason = answer->body};
}
Result<admin::Json> RemoteControl::status() {
  return ask("GET", "/api/v1/status");
}
Result<admin::Json> RemoteControl::sessions(const admin::Page& page) {
  return ask("GET", "/api/v1/sessions" + query_of(page));
}
Result<admin::Json> RemoteControl::session(const std::string& name) {
  return ask("GET", session_path(name));
}
Result<admin::Json> RemoteControl::names(const std::string& session, const admin::Page& page) {
  return ask("GET", session_path(session, "/names") + query_of(page));
}
Result<admin::Json> RemoteControl::create_session(const std::string& name) {
  return ask("POST", "/api/v1/sessions", dump({{"name", name}}));
}
Result<admin::Json> RemoteControl::delete_session(const std::string& name) {
  return ask("DELETE", session_path(name));
}
Result<admin::Json> RemoteControl::activate_session(const std::string& name, const std::string& target) {
  return ask("POST", session_path(name, "/activate"), dump(members({{"target", target}})));
}
Result<admin::Json> RemoteControl::rewind_session(const std::string& name, const std::string& target) {
  return ask("POST", session_path(name, "/rewind"), dump(members({{"target", target}})));
}
Result<admin::Json> RemoteControl::export_session(const std::string& name, const std::string& path) {
  return ask("POST", session_path(name, "/export"), dump({{"path", path}}));
}
Result<admin::Json> RemoteControl::import_session(const std::string& name, const std::string& path) {
  return ask("POST", "/api/v1/sessions/import", dump(members({{"path", path}, {"name", name}})));
}
Result<admin::Json> RemoteControl::recordings(const admin::RecordingFilter& filter, const admin::Page& page) {
  return ask("GET", "/api/v1/recordings" + query_of({{"session", filter.session},
                                                     {"host", filter.host.value_or("")},
                                                     {"method", filter.method.value_or("")},
                                                     {"path", filter.path_contains.value_or("")},
                                                     {"status", filter.status ? std::to_string(*filter.status) : ""},
                                                     {"text", filter.text.value_or("")},
                                                     {"cursor", page.cursor},
                                                     {"limit", std::to_string(page.limit)}}));
}
Result<admin::Json> RemoteControl::recording(const std::string& id) {
  return ask("GET", recording_path(id));
}
Result<admin::Pieces> RemoteControl::recording_body(const std::string& id, BodyOf which) {
  TRY(body, ask("GET", recording_path(id) + (which == BodyOf::Request ? "/body?of=request" : "/body")));
  return admin::one_piece(std::move(body));
}
Result<admin::Json> RemoteControl::delete_recording(const std::string& id) {
  return ask("DELETE", recording_path(id));
}
Result<admin::Json> RemoteControl::mode() {
  return ask("GET", "/api/v1/mode");
}
Result<admin::Json> RemoteControl::set_mode(Mode mode, const std::string& target) {
  return ask("PUT", "/api/v1/mode", dump(members({{"mode", std::string(to_string(mode))}, {"target", target}})));
}
Result<admin::Json> RemoteControl::targets() {
  return ask("GET", "/api/v1/targets");
}
Result<admin::Json> RemoteControl::attach(const admin::AttachRequest& request) {
  Json body = members({{"kind", request.kind}, {"selector", request.selector}, {"name", request.name}});
  body["sealed"] = request.sealed;
  if (request.session) body["session"] = *request.session;
  if (request.mode) body["mode"] = to_string(*request.mode);
  return ask("POST", "/api/v1/targets", dump(body));
}
Result<admin::Json> RemoteControl::detach(const std::string& id) {
  return ask("DELETE", "/api/v1/targets/" + admin::encode_segment(id));
}
Result<admin::Json> RemoteControl::follow_daemon(admin::Own what, const std::string& target) {
  const char* own = what == admin::Own::Mode ? "/mode" : "/session";
  return ask("DELETE", "/api/v1/targets/" + admin::encode_segment(target) + own);
}

}  // namespace tapdeck::app

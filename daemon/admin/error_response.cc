#include "daemon/admin/error_response.h"

#include <utility>

#include "daemon/base/json_text.h"

namespace tapdeck::admin {
namespace {

int status_of(Code code) {
  switch (code) {
    case Code::InvalidArgument:
    case Code::InvalidConfig:
      return 400;
    case Code::NotFound:
      return 404;
    case Code::AlreadyExists:
    case Code::Busy:
      return 409;
    case Code::Permission:
      return 403;
    case Code::Unsupported:
      return 501;
    case Code::TooLarge:
      return 413;
    case Code::Exhausted:
      return 503;
    case Code::NoSpace:
      return 507;
    case Code::Timeout:
      return 504;
    case Code::Protocol:
    case Code::Refused:
    case Code::Reset:
    case Code::Closed:
    case Code::Truncated:
    case Code::Unreachable:
    case Code::Dns:
    case Code::Tls:
    case Code::TlsVerify:
    case Code::Cancelled:
    case Code::Io:
    case Code::Corrupt:
    case Code::Internal:
      return 500;
  }
  return 500;
}

std::string_view next_step(Code code) {
  switch (code) {
    case Code::NotFound:
      return "list what exists: GET /api/v1/sessions, /api/v1/recordings or /api/v1/targets";
    case Code::InvalidArgument:
      return "correct the named parameter and ask again";
    case Code::AlreadyExists:
      return "choose another name, or remove what has this one first";
    case Code::Permission:
      return "see `tapdeck doctor` for the missing privilege";
    case Code::Unsupported:
      return "see `tapdeck doctor` for what this host supports";
    case Code::Busy:
    case Code::Exhausted:
    case Code::Timeout:
      return "try again";
    case Code::NoSpace:
      return "free space on the disk of the file that `detail` names, or else of the state directory";
    default:
      return "see the daemon's log";
  }
}

}  // namespace

Response error_response(int status, std::string_view name, std::string_view detail, std::string_view next) {
  Response out{.status = status};
  out.body = "{\"error\":";
  append_json_string(out.body, name);
  out.body += ",\"detail\":";
  append_json_string(out.body, detail);
  out.body += ",\"next\":";
  append_json_string(out.body, next);
  out.body += "}\n";
  return out;
}

Response from_error(const Error& error) {
  return error_response(status_of(error.code), to_string(error.code), error.message(), next_step(error.code));
}

Response from(Result<Json> result, int status) {
  if (!result) return from_error(result.error());
  return {.status = status, .body = std::move(*result) + "\n"};
}

Response from_deletion(Result<Json> result) {
  if (result || result.error().code != Code::Busy) return from(std::move(result));
  return error_response(status_of(Code::Busy), to_string(Code::Busy), result.error().message(),
                        "activate another one first: POST /api/v1/sessions/NAME/activate, with `target` where a target "
                        "uses it");
}

Response from_import(Result<Json> result) {
  if (result) return from(std::move(result), 201);
  const Error& error = result.error();
  switch (error.code) {
    case Code::Corrupt:
    case Code::Truncated:
    case Code::Unsupported:
      return error_response(422, to_string(error.code), error.message(),
                            "name a whole file that `tapdeck session export` of this version or an older one wrote");
    case Code::NotFound:
      return error_response(404, to_string(error.code), error.message(), "name a file that the daemon can read");
    default:
      return from_error(error);
  }
}

}  // namespace tapdeck::admin

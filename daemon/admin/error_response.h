// Errors as answers of the admin API: status, name, detail and what to do next. Thread: any. Pure.
#pragma once

#include <string_view>

#include "daemon/admin/control.h"
#include "daemon/admin/message.h"
#include "daemon/base/result.h"

namespace tapdeck::admin {

// {"error":name,"detail":...,"next":...}
[[nodiscard]] Response error_response(int status, std::string_view name, std::string_view detail,
                                      std::string_view next);
[[nodiscard]] Response from_error(const Error& error);
// What a Control answered; `status` of a good one.
[[nodiscard]] Response from(Result<Json> result, int status = 200);
// The same of a session's deletion, which is refused while it is in use.
[[nodiscard]] Response from_deletion(Result<Json> result);
// The same of an import: what is wrong with the file that the client named is not this server's failure.
[[nodiscard]] Response from_import(Result<Json> result);

}  // namespace tapdeck::admin

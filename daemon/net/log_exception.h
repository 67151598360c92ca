// What is said of a coroutine that ended by an exception: a bug of ours, or a want of memory. One line in the log, as
// often as the log's rate limit lets it. Thread: any.
#pragma once

#include <exception>
#include <string_view>

namespace tapdeck::net {

// "connection.exception" and "a connection", say.
void log_exception(std::string_view event, std::string_view what_ended, const std::exception_ptr& failure);

}  // namespace tapdeck::net

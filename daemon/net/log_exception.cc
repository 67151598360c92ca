#include "daemon/net/log_exception.h"

#include <string>

#include "daemon/base/log.h"

namespace tapdeck::net {

void log_exception(std::string_view event, std::string_view what_ended, const std::exception_ptr& failure) {
  const std::string message = std::string(what_ended) + " ended by an exception";
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    log::peer(log::Level::Error, event, message, {{"what", error.what()}});
  } catch (...) {
    log::peer(log::Level::Error, event, message, {{"what", "unknown"}});
  }
}

}  // namespace tapdeck::net

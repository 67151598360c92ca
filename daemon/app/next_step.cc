#include "daemon/app/next_step.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace tapdeck::app {
namespace {

// Details that say what to do have one of these.
constexpr std::array<std::string_view, 9> kAdvice = {"; ",       ": tapdeck ", "`tapdeck ",    "sudo ", "(needs ",
                                                     "(choose ", "--",         "did you mean", "raise "};

// RocksDB tells errnos as text alone.
bool is_errno(const Error& error, int number) {
  return error.sys_errno == number || error.detail.contains(std::strerror(number));
}

// What an errno asks for, whatever it is a failure of; empty: nothing in particular.
std::string_view step_of_errno(const Error& error) {
  if (is_errno(error, EROFS)) return "make it writable, or choose another directory with --state-dir";
  if (is_errno(error, EMFILE))
    return "raise the limit of open files: ulimit -n 4096 (as root where it was lowered for good), LimitNOFILE= of a "
           "unit";
  return {};
}

std::string_view step_of_code(const Error& error) {
  switch (error.code) {
    case Code::InvalidArgument:
      return "correct what `detail` names; every subcommand has --help";
    case Code::InvalidConfig:
      return "correct the file; try it with: tapdeck config check";
    case Code::NotFound:
      return "list what there is: tapdeck session list, tapdeck recording list, tapdeck targets";
    case Code::AlreadyExists:
      return "choose another name, or remove what has this one first";
    case Code::Busy:
      if (error.origin == Origin::Store) return "stop that process, or choose another directory with --state-dir";
      [[fallthrough]];
    case Code::Exhausted:
    case Code::Timeout:
      return "try again when that is over";
    case Code::Permission:
      return "ask as root or as the owner of the state directory; see: tapdeck doctor";
    case Code::Unsupported:
      return "see what runs and what this host can do: tapdeck status, tapdeck doctor";
    case Code::NoSpace:
      return "free space on the disk of the file that it names, or else of the state directory";
    default:
      return "see: tapdeck status, and the daemon's log";
  }
}

// Not so of a value or file that the message names, nor of what just is not there: that says enough.
bool helps_people(const Error& error) {
  switch (error.code) {
    case Code::NotFound:
      return error.origin == Origin::Store;
    case Code::Busy:
    case Code::Permission:
    case Code::Unsupported:
    case Code::NoSpace:
    case Code::AlreadyExists:
      return true;
    default:
      return !step_of_errno(error).empty();
  }
}

}  // namespace

std::string_view next_step(const Error& error) {
  const std::string_view special = step_of_errno(error);
  return special.empty() ? step_of_code(error) : special;
}

std::string with_next_step(const Error& error) {
  std::string message = error.message();
  const bool is_advised = std::ranges::any_of(kAdvice, [&](std::string_view sign) { return message.contains(sign); });
  if (is_advised || !helps_people(error)) return message;
  return message + "; " + std::string(next_step(error));
}

}  // namespace tapdeck::app

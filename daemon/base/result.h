// Result<T> and Error: how every fallible function in tapdeck reports failure. We throw nothing.
//
// Context is added once, at the boundary that knows it ("dial 192.0.2.1:443"). Absence is std::optional, failure is
// Result. Thread: any; values only.
#pragma once

#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace tapdeck {

// What went wrong. Closed on purpose: the switches to HTTP status and to JSON error names are exhaustive.
enum class Code {
  InvalidArgument,  // a caller's value is wrong (CLI flag, API parameter); say which and the nearest valid one
  InvalidConfig,    // configuration text; detail begins with file:line:column
  NotFound,         // session, recording, target, container ...
  AlreadyExists,
  Permission,   // a privilege is missing; detail names the capability
  Unsupported,  // this kernel, host or build cannot; detail says what is missing
  Busy,         // locked by another process
  Exhausted,    // descriptors, ports, map entries, connection limit
  Protocol,     // malformed bytes from a peer
  TooLarge,     // a configured limit was passed
  Timeout,
  Refused,      // ECONNREFUSED
  Reset,        // ECONNRESET, EPIPE
  Closed,       // orderly end where more was not required
  Truncated,    // end of stream in the middle of a message
  Unreachable,  // EHOSTUNREACH, ENETUNREACH, ...
  Dns,
  Tls,        // handshake or record failure
  TlsVerify,  // the peer's certificate did not verify
  Cancelled,  // we stopped it ourselves
  Io,         // disk or other syscall failure
  NoSpace,    // ENOSPC, EDQUOT
  Corrupt,    // stored bytes do not decode
  Internal,   // a bug
};

// Who failed.
enum class Origin { Internal, Downstream, Upstream, Kernel, Store };

// May the operation be tried again? OnlyIfReused: yes if it ran on a pooled connection that the peer may have closed.
enum class Retry { No, Yes, OnlyIfReused };

struct Error {
  Code code = Code::Internal;
  std::string detail;  // for people: what, where, what to do next. Never a secret.
  Origin origin = Origin::Internal;
  Retry retry = Retry::No;
  int sys_errno = 0;

  // "detail: Connection refused" when an errno is known.
  [[nodiscard]] std::string message() const {
    if (sys_errno == 0) return detail;
    return detail + ": " + std::strerror(sys_errno);
  }
};

template <class T>
using Result = std::expected<T, Error>;

// The failed half of a Result: `return fail(Code::NotFound, "session 'x'")`.
[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string detail, Origin origin = Origin::Internal) {
  return std::unexpected(Error{code, std::move(detail), origin, Retry::No, 0});
}

// Maps an errno of a socket, file or bpf call to the Code it means.
[[nodiscard]] Code code_of_errno(int sys_errno);

// A failed syscall: `return fail_errno(errno, "open " + path)`.
[[nodiscard]] inline std::unexpected<Error> fail_errno(int sys_errno, std::string what,
                                                       Origin origin = Origin::Internal) {
  return std::unexpected(Error{code_of_errno(sys_errno), std::move(what), origin, Retry::No, sys_errno});
}

[[nodiscard]] std::string_view to_string(Code code);
[[nodiscard]] std::string_view to_string(Origin origin);

// Deliberately dropped results carry their reason and can be found by grep.
template <class T>
void ignore(T&& /*result*/, std::string_view /*why*/) {}

}  // namespace tapdeck

// TRY(x, expr): x is the value of the Result `expr`, or the enclosing function returns its error.
// TRY_VOID(expr): the same without a value. CO_ twins for coroutines (`CO_TRY(n, co_await read(s))`).
#define TAPDECK_TRY(ret, var, ...)                                             \
  auto var##_or_error = (__VA_ARGS__);                                         \
  if (!var##_or_error) ret std::unexpected(std::move(var##_or_error).error()); \
  auto var = std::move(*var##_or_error)
#define TRY(var, ...) TAPDECK_TRY(return, var, __VA_ARGS__)
#define CO_TRY(var, ...) TAPDECK_TRY(co_return, var, __VA_ARGS__)
#define TAPDECK_TRY_VOID(ret, ...)                                                            \
  do {                                                                                        \
    if (auto tried_ = (__VA_ARGS__); !tried_) ret std::unexpected(std::move(tried_).error()); \
  } while (false)
#define TRY_VOID(...) TAPDECK_TRY_VOID(return, __VA_ARGS__)
#define CO_TRY_VOID(...) TAPDECK_TRY_VOID(co_return, __VA_ARGS__)

#include "daemon/base/threads.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <latch>
#include <vector>

namespace tapdeck {
namespace {

std::atomic<int> exit_status{1};

[[noreturn]] void say_and_end() {
  if (const std::exception_ptr thrown = std::current_exception()) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::system_error& error) {
      if (error.code().value() == EAGAIN) {  // by number: libraries have categories of their own
        std::fprintf(stderr, "tapdeck: %s\n", no_thread(error).detail.c_str());
        ::_exit(exit_status.load());
      }
      std::fprintf(stderr, "tapdeck: %s\n", error.what());
      const bool no_descriptor = error.code().value() == EMFILE || error.code().value() == ENFILE;
      if (no_descriptor) ::_exit(exit_status.load());
    } catch (...) {
      std::fputs("tapdeck: unexpected exception\n", stderr);
    }
  }
  std::abort();
}

}  // namespace

Error no_thread(const std::system_error& refused) {
  return Error{Code::Exhausted,
               "cannot start a thread: " + refused.code().message() +
                   "; raise pids.max of the cgroup (systemd: TasksMax=) or ulimit -u",
               Origin::Internal, Retry::Yes, 0};
}

unsigned threads_to_spare(unsigned wanted) {
  std::latch end(1);
  std::vector<std::thread> started;
  started.reserve(wanted);
  while (started.size() < wanted) {
    auto one = start_thread([&end] { end.wait(); });
    if (!one) break;
    started.push_back(std::move(*one));
  }
  end.count_down();
  for (std::thread& one : started) one.join();
  return static_cast<unsigned>(started.size());
}

Result<void> check_threads(unsigned wanted) {
  const unsigned spare = threads_to_spare(wanted);
  if (spare >= wanted) return {};
  Error error = no_thread(std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again)));
  error.detail += " (" + std::to_string(wanted) + " are needed, " + std::to_string(spare) + " could be started)";
  return std::unexpected(std::move(error));
}

void end_without_threads(int status) {
  exit_status = status;
  std::set_terminate(say_and_end);
}

}  // namespace tapdeck

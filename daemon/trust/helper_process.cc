#include "daemon/trust/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <mutex>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::trust {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxAnswer = 1UL << 20;

// "O" text, or "E" code "," errno "," detail.
std::string encode(const Result<std::string>& result) {
  if (result) return "O" + *result;
  const Error& error = result.error();
  return "E" + std::to_string(static_cast<int>(error.code)) + "," + std::to_string(error.sys_errno) + "," +
         error.detail;
}

Result<std::string> decode(std::string answer) {
  if (answer.starts_with('O')) return answer.substr(1);
  int code = 0;
  int sys_errno = 0;
  const char* end = answer.data() + answer.size();
  if (!answer.starts_with('E')) return fail(Code::Internal, "the helper process died before it answered");
  const auto first = std::from_chars(answer.data() + 1, end, code);
  if (first.ptr == end) return fail(Code::Internal, "the helper process answered nonsense");
  const auto second = std::from_chars(first.ptr + 1, end, sys_errno);
  if (second.ptr == end) return fail(Code::Internal, "the helper process answered nonsense");
  return std::unexpected(
      Error{static_cast<Code>(code), std::string(second.ptr + 1, end), Origin::Kernel, Retry::No, sys_errno});
}

[[noreturn]] void child(const std::function<Result<std::string>()>& work, int pipe_fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A child stuck in the kernel must not keep our listeners and databases open.
  const int out = ::dup2(pipe_fd, 3);
  ::close_range(4, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ignore(write_all(out, encode(work())), "the parent sees a missing answer");
  ::_exit(0);
}

// Everything until end of file, or Timeout.
Result<std::string> read_answer(int fd, Clock::time_point until) {
  std::string answer;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return fail(Code::Timeout, "the helper process did not finish in time", Origin::Kernel);
    pollfd poll_fd{fd, POLLIN, 0};
    if (::poll(&poll_fd, 1, static_cast<int>(left)) < 0 && errno != EINTR) return fail_errno(errno, "poll");
    if (poll_fd.revents == 0) continue;
    char buffer[16384];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read from the helper process");
    if (n == 0) return answer;
    answer.append(buffer, static_cast<size_t>(n));
    if (answer.size() > kMaxAnswer) return fail(Code::TooLarge, "answer of the helper process");
  }
}

// Those that were killed and had not ended yet, in uninterruptible sleep. Each next call asks for them again.
class Unreaped {
 public:
  void add(pid_t pid) {
    const std::scoped_lock lock(mutex_);
    pids_.push_back(pid);
  }
  void reap() {
    const std::scoped_lock lock(mutex_);
    std::erase_if(pids_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
  }

 private:
  std::mutex mutex_;
  std::vector<pid_t> pids_;
};

Unreaped& unreaped() {
  static Unreaped all;
  return all;
}

// Killed or done; one that does not end is left after a while rather than waited for.
void reap(pid_t pid) {
  for (int tries = 0; tries < 100; ++tries) {
    if (::waitpid(pid, nullptr, WNOHANG) != 0) return;
    ::usleep(10000);
  }
  unreaped().add(pid);
}

}  // namespace

Result<std::string> run_in_helper(const std::function<Result<std::string>()>& work,
                                  std::chrono::milliseconds deadline) {
  unreaped().reap();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) child(work, writer.get());
  writer.reset();
  Result<std::string> answer = read_answer(reader.get(), Clock::now() + deadline);
  if (!answer) ::kill(pid, SIGKILL);
  reap(pid);
  if (!answer) return answer;
  return decode(std::move(*answer));
}

}  // namespace tapdeck::trust

#include "daemon/app/run_namespace.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "daemon/app/watcher_process.h"
#include "daemon/base/inode.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{5};  // with a keeper that is stopped, or a kernel that hangs

Result<void> write_map(const std::string& file, const std::string& text) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + file);
  return write_all(fd.get(), text);
}

// The ids that there are for us, each as itself: "first first count" a line.
std::string identity_map(const char* file) {
  std::ifstream in(file);
  std::string out;
  uint64_t inside = 0, outside = 0, count = 0;
  while (in >> inside >> outside >> count) {
    const std::string first = std::to_string(inside);
    out += first + " " + first + " " + std::to_string(count) + "\n";
  }
  return out;
}

// All ids for whoever may (root: its commands change their users), else our own one alone, for which a process gives up
// setgroups(2).
Result<void> map_ids(pid_t keeper) {
  const std::string of = "/proc/" + std::to_string(keeper);
  if (::geteuid() == 0 && write_map(of + "/uid_map", identity_map("/proc/self/uid_map")) &&
      write_map(of + "/gid_map", identity_map("/proc/self/gid_map"))) {
    return {};
  }
  const auto only = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1\n"; };
  ignore(write_map(of + "/uid_map", only(::geteuid())), "mapped already, or the next step fails");
  TRY_VOID(write_map(of + "/setgroups", "deny"));
  return write_map(of + "/gid_map", only(::getegid()));
}

Error keeper_died() {
  return {Code::Internal, "the process that keeps the command's namespace has died", Origin::Kernel, Retry::No, 0};
}

// What it complains of is an error.
Result<FdMessage> without_complaint(FdMessage message) {
  if (message.text.empty()) return std::unexpected(keeper_died());
  if (!message.text.starts_with(kKeeperFailed)) return message;
  return std::unexpected(decode_failure(message.text));
}

Result<FdMessage> hear(int socket) {
  TRY(message, receive_message(socket));
  return without_complaint(std::move(message));
}

}  // namespace

Result<std::unique_ptr<RunNamespace>> RunNamespace::create(const NamespacePlan& plan) {
  TRY(ends, watcher_sockets());
  auto& [ours, theirs] = ends;
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) {
    ours.reset();  // kept open, it would never be seen to close
    keep_namespace(theirs.get(), plan);
  }
  theirs.reset();
  const timeval patience{kPatience.count(), 0};
  ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::unique_ptr<RunNamespace> out(new RunNamespace(pid, std::move(ours)));
  TRY_VOID(out->take_over());
  return out;
}

Result<void> RunNamespace::take_over() {
  TRY(made, hear(socket_.get()));
  TRY_VOID(map_ids(keeper_));
  TRY_VOID(send_message(socket_.get(), kKeeperGoOn));
  TRY(ready, hear(socket_.get()));
  TRY(inside, decode_inside(ready.text));
  const size_t expected = kNamespaceFds + inside.listeners + (inside.has_names4 ? 1 : 0) + (inside.has_names6 ? 1 : 0);
  if (ready.fds.size() != expected) return std::unexpected(keeper_died());
  auto next = ready.fds.begin();
  user_ = std::move(*next++);
  network_ = std::move(*next++);
  if (inside.has_names4) names_.v4 = std::move(*next++);
  if (inside.has_names6) names_.v6 = std::move(*next++);
  listeners_.fds.assign(std::move_iterator(next), std::move_iterator(ready.fds.end()));
  listeners_.v4 = inside.v4;
  listeners_.v6 = inside.v6;
  listeners_.netns_cookie = inside.cookie;
  listeners_.uid = ::geteuid();
  user_inode_ = inode_of("/proc/self/fd/" + std::to_string(user_.get()));
  return {};
}

RunNamespace::~RunNamespace() {
  // Not by the socket: it may be stopped. And first of all, for a closed socket is our death.
  ::kill(keeper_, SIGKILL);
  while (::waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

kernel::NamespaceListeners RunNamespace::take_listeners() {
  listeners_.uncaptured = [this] {
    const kernel::RefusedPackets packets = refused();
    std::array<uint64_t, kernel::kUncapturedReasons> out{};
    out[static_cast<size_t>(kernel::Uncaptured::Udp)] = packets.udp;
    out[static_cast<size_t>(kernel::Uncaptured::Quic)] = packets.quic;
    out[static_cast<size_t>(kernel::Uncaptured::Other)] = packets.other;
    return out;
  };
  return std::move(listeners_);
}

// With mutex_ held. Who did not answer once is not asked again: that would be waited for each time.
Result<FdMessage> RunNamespace::ask(std::string_view question) {
  if (is_mute_) return std::unexpected(keeper_died());
  const Result<void> asked = send_message(socket_.get(), question);
  auto answer = asked ? receive_message(socket_.get()) : std::unexpected(asked.error());
  is_mute_ = !answer || answer->text.empty();
  if (is_mute_) return std::unexpected(keeper_died());
  return without_complaint(std::move(*answer));
}

// What it said last, where it does not answer.
kernel::RefusedPackets RunNamespace::refused() {
  const std::scoped_lock lock(mutex_);
  const auto answer = ask(kKeeperCount);
  if (answer) refused_ = decode_refused(answer->text).value_or(refused_);
  return refused_;
}

Result<void> RunNamespace::learn(const std::vector<Endpoint>& destinations) {
  const std::scoped_lock lock(mutex_);
  std::string message(kKeeperPlaces);
  for (const Endpoint& one : destinations) {
    const std::string word = " " + one.to_string();
    if (message.size() + word.size() > kLongestMessage) {
      TRY(heard, ask(message));
      message = kKeeperPlaces;
    }
    message += word;
  }
  TRY(heard, ask(message));
  return {};
}

std::vector<pid_t> RunNamespace::pids() const {
  return pids_in_namespace(user_inode_, keeper_);
}

size_t RunNamespace::end_leftovers(std::chrono::milliseconds settle, std::chrono::milliseconds grace) {
  const auto wait_until_gone = [this](std::chrono::milliseconds limit) {
    const auto until = Clock::now() + limit;
    std::vector<pid_t> left = pids();
    while (!left.empty() && Clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      left = pids();
    }
    return left;
  };
  const std::vector<pid_t> left = wait_until_gone(settle);
  for (const pid_t pid : left) ::kill(pid, SIGTERM);
  if (left.empty() || wait_until_gone(grace).empty()) return left.size();
  end_all_in_namespace(user_inode_, keeper_, grace);
  return left.size();
}

bool RunNamespace::has_died() const {
  {
    const std::scoped_lock lock(mutex_);
    if (is_mute_) return true;
  }
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(keeper_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == keeper_;
}

}  // namespace tapdeck::app

#include "daemon/app/namespace_keeper.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "daemon/app/fd_message.h"
#include "daemon/app/watcher_process.h"
#include "daemon/base/inode.h"
#include "daemon/base/unique_fd.h"
#include "daemon/kernel/host_servers.h"
#include "daemon/kernel/listener_plan.h"
#include "daemon/kernel/netns.h"

namespace tapdeck::app {
namespace {

constexpr std::chrono::milliseconds kKillLimit{10000};
constexpr int kLookMs = 200;  // between looks for servers outside
constexpr uint16_t kNamePort = 53;
constexpr int kBacklog = 4096;

struct Made {
  Inside inside;
  std::vector<UniqueFd> fds;  // in the order in which they are handed over
};

Result<void> set(int fd, int level, int option, const char* what) {
  const int on = 1;
  if (::setsockopt(fd, level, option, &on, sizeof on) != 0) return fail_errno(errno, what, Origin::Kernel);
  return {};
}

Result<void> bind_to(int fd, const Endpoint& address) {
  sockaddr_storage raw{};
  const socklen_t length = address.to_sockaddr(raw);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&raw), length) != 0) {
    return fail_errno(errno, "bind to " + address.to_string(), Origin::Kernel);
  }
  return {};
}

Result<UniqueFd> open_socket(const Endpoint& address, int type) {
  const bool is_v6 = address.family == Endpoint::Family::V6;
  UniqueFd fd(::socket(is_v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "socket", Origin::Kernel);
  if (is_v6) TRY_VOID(set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"));
  return fd;
}

Result<UniqueFd> listen_at(const Endpoint& address) {
  TRY(fd, open_socket(address, SOCK_STREAM));
  const bool is_v6 = address.family == Endpoint::Family::V6;
  TRY_VOID(is_v6 ? set(fd.get(), IPPROTO_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT")
                 : set(fd.get(), IPPROTO_IP, IP_TRANSPARENT, "IP_TRANSPARENT"));
  TRY_VOID(set(fd.get(), SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"));
  TRY_VOID(bind_to(fd.get(), address));
  if (::listen(fd.get(), kBacklog) != 0) return fail_errno(errno, "listen", Origin::Kernel);
  return fd;
}

Result<UniqueFd> hear_names(Endpoint::Family family) {
  Endpoint any;
  any.family = family;
  any.port = kNamePort;
  TRY(fd, open_socket(any, SOCK_DGRAM));
  TRY_VOID(family == Endpoint::Family::V6 ? set(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO")
                                          : set(fd.get(), IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO"));
  TRY_VOID(bind_to(fd.get(), any));
  return fd;
}

Result<void> open_namespaces(Made& made) {
  for (const char* kind : {"user", "net"}) {
    UniqueFd fd(::open((std::string("/proc/self/ns/") + kind).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno(errno, "open the command's namespace", Origin::Kernel);
    made.fds.push_back(std::move(fd));
  }
  return {};
}

// One of the first `count` members of the listener's group takes a connection, whoever joins the group later: the
// command, which is the same user, may.
Result<void> choose_among(int listener, unsigned count) {
  const auto random = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM);
  std::array<sock_filter, 3> code = {sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, random},
                                     sock_filter{BPF_ALU | BPF_MOD | BPF_K, 0, 0, count},
                                     sock_filter{BPF_RET | BPF_A, 0, 0, 0}};
  const sock_fprog program{code.size(), code.data()};
  if (::setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0) {
    return fail_errno(errno, "SO_ATTACH_REUSEPORT_CBPF", Origin::Kernel);
  }
  return {};
}

Result<void> make_listeners(Made& made, const Endpoint& address, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    TRY(fd, listen_at(address));
    made.fds.push_back(std::move(fd));
    ++made.inside.listeners;
  }
  return choose_among(made.fds.back().get(), count);
}

// Ids are mapped.
Result<Made> furnish(const NamespacePlan& plan) {
  Made made;
  TRY_VOID(kernel::make_local(plan.addresses));
  TRY_VOID(open_namespaces(made));
  made.inside.cookie = kernel::netns_cookie().value_or(0);
  if (auto names = hear_names(Endpoint::Family::V4)) {
    made.inside.has_names4 = true;
    made.fds.push_back(std::move(*names));
  }
  if (auto names = hear_names(Endpoint::Family::V6)) {
    made.inside.has_names6 = true;
    made.fds.push_back(std::move(*names));
  }
  const uint16_t port = kernel::candidate_ports(kernel::local_port_range(), static_cast<uint32_t>(::getpid())).front();
  made.inside.v4 = kernel::listener_address4(0, port);
  TRY_VOID(make_listeners(made, made.inside.v4, plan.listeners));
  // A kernel without IPv6.
  if (made.inside.has_names6) {
    made.inside.v6 = kernel::listener_address6(port);
    TRY_VOID(make_listeners(made, made.inside.v6, plan.listeners));
  }
  TRY_VOID(kernel::set_tproxy_rules({made.inside.v4, made.inside.v6, plan.host}));
  return made;
}

constexpr const char* kWhoForbids =
    " (sysctl kernel.unprivileged_userns_clone=1 on Debian, kernel.apparmor_restrict_unprivileged_userns=0 on "
    "Ubuntu; in a container its seccomp profile forbids it)";

Result<void> make_namespaces() {
  ::prctl(PR_SET_DUMPABLE, 1);  // else /proc/PID/uid_map is root's; a program with capabilities of its own begins so
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) return {};
  const int error = errno;
  const bool are_too_many = error == ENOSPC || error == EUSERS;
  const std::string why = are_too_many ? " (sysctl user.max_user_namespaces, user.max_net_namespaces)" : kWhoForbids;
  return fail_errno(error, "make a user and a network namespace" + why, Origin::Kernel);
}

// AppArmor lets a user make namespaces, and then forbids what they are made for.
Error explained(Error error) {
  if (error.sys_errno == EPERM || error.sys_errno == EACCES || error.code == Code::Permission)
    error.detail += kWhoForbids;
  return error;
}

[[noreturn]] void give_up(const Error& error) {
  ignore(send_message(kWatcherSocket, encode_failure(error)), "it sees us end");
  ::_exit(1);
}

void hand_over(const Made& made) {
  std::vector<int> fds;
  for (const UniqueFd& fd : made.fds) fds.push_back(fd.get());
  if (const auto sent = send_message(kWatcherSocket, encode(made.inside), fds); !sent) give_up(sent.error());
}

// On which addresses of this host connections are captured: where somebody listens outside, and what is on tape.
class Places {
 public:
  Places(const kernel::HostServers& servers, const NamespacePlan& plan) : servers_(servers), plan_(plan) {}

  // A destination that is on tape: of this host, or one that has to be made local.
  void learn(const Endpoint& destination) {
    if (is_ours(destination)) {
      recorded_.insert(destination);
    } else if (std::ranges::none_of(plan_.addresses, [&](const kernel::Prefix& one) {
                 return one.length == 0 && one.address.family == destination.family;
               })) {
      ignore(kernel::make_address_local(destination), "it stays unreachable, as it is outside");
    }
  }

  // Errors: the servers outside could not be asked for, or the rules not changed; what is on tape is shown all the
  // same.
  Result<void> look() {
    std::set<Endpoint> now = recorded_;
    const auto listening = servers_.listening();
    for (const Endpoint& one : listening.value_or(std::set<Endpoint>())) {
      if (now.size() < kMostPlaces && (one.is_unspecified() || is_ours(one))) now.insert(one);
    }
    if (now != shown_) {
      TRY_VOID(kernel::set_places(now));
      shown_ = std::move(now);
    }
    if (!listening) return std::unexpected(listening.error());
    return {};
  }

 private:
  [[nodiscard]] bool is_ours(Endpoint destination) const {
    destination.port = 0;
    return destination.is_loopback() || plan_.host.contains(destination);
  }
  static constexpr size_t kMostPlaces = 4096;

  const kernel::HostServers& servers_;
  const NamespacePlan& plan_;
  std::set<Endpoint> recorded_, shown_;
};

std::string_view take_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

void answer(std::string_view question, Places& places) {
  const std::string_view what = take_word(question);
  if (what == kKeeperCount) {
    const auto packets = kernel::refused_packets();
    ignore(send_message(kWatcherSocket, packets ? encode(*packets) : encode_failure(packets.error())),
           "it may have ended");
  } else if (what == kKeeperPlaces) {
    while (!question.empty()) {
      if (const auto place = Endpoint::parse(take_word(question))) places.learn(*place);
    }
    const auto looked = places.look();
    ignore(send_message(kWatcherSocket, looked ? std::string(kKeeperPlaces) : encode_failure(looked.error())),
           "it may have ended");
  }
}

// Until the other end closes.
void answer_questions(Places& places) {
  for (;;) {
    pollfd waiting{kWatcherSocket, POLLIN, 0};
    if (::poll(&waiting, 1, kLookMs) == 0) {
      ignore(places.look(), "at the next look");
      continue;
    }
    const auto question = receive_message(kWatcherSocket);
    if (!question && question.error().sys_errno != ECONNRESET) give_up(question.error());
    if (!question || question->text.empty()) return;
    answer(question->text, places);
  }
}

template <typename Value>
Value take_number(std::string_view& text) {
  Value value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return value;
}

}  // namespace

void keep_namespace(int socket, const NamespacePlan& plan) {
  become_watcher(socket, "td-run-keeper");
  const auto servers = kernel::HostServers::here();  // before this is another place
  if (!servers) give_up(servers.error());
  if (const auto made = make_namespaces(); !made) give_up(made.error());
  if (!send_message(kWatcherSocket, "u")) ::_exit(1);
  const auto go = receive_message(kWatcherSocket);
  if (!go || go->text != kKeeperGoOn) ::_exit(1);
  Places places(*servers, plan);
  {
    const auto made = furnish(plan);
    if (!made) give_up(explained(made.error()));
    if (const auto looked = places.look(); !looked) give_up(looked.error());
    hand_over(*made);
  }  // ours are closed: who has died must not seem to listen
  answer_questions(places);
  // An orderly end kills us first.
  end_all_in_namespace(inode_of("/proc/self/ns/user"), ::getpid(), kKillLimit);
  ::_exit(0);
}

std::string encode(const Inside& inside) {
  std::ostringstream out;
  out << 'r' << ' ' << inside.has_names4 << ' ' << inside.has_names6 << ' ' << inside.listeners << ' ' << inside.cookie
      << ' ' << inside.v4.to_string() << ' ' << inside.v6.to_string();
  return out.str();
}

Result<Inside> decode_inside(std::string_view text) {
  if (take_word(text) != "r") return fail(Code::Corrupt, "the keeper of the namespace says nothing that is known");
  Inside inside;
  inside.has_names4 = take_number<int>(text) == 1;
  inside.has_names6 = take_number<int>(text) == 1;
  inside.listeners = take_number<size_t>(text);
  inside.cookie = take_number<uint64_t>(text);
  const auto v4 = Endpoint::parse(take_word(text));
  if (!v4 || inside.listeners == 0) return fail(Code::Corrupt, "the keeper of the namespace has no listeners");
  inside.v4 = *v4;
  inside.v6 = Endpoint::parse(take_word(text)).value_or(Endpoint{});
  return inside;
}

std::string encode(const kernel::RefusedPackets& packets) {
  return "n " + std::to_string(packets.udp) + " " + std::to_string(packets.quic) + " " + std::to_string(packets.other);
}

Result<kernel::RefusedPackets> decode_refused(std::string_view text) {
  if (take_word(text) != "n") return fail(Code::Corrupt, "the keeper of the namespace says nothing that is known");
  kernel::RefusedPackets packets;
  packets.udp = take_number<uint64_t>(text);
  packets.quic = take_number<uint64_t>(text);
  packets.other = take_number<uint64_t>(text);
  return packets;
}

std::string encode_failure(const Error& error) {
  const std::string head = std::string(kKeeperFailed) + " " + std::to_string(static_cast<int>(error.code)) + " " +
                           std::to_string(error.sys_errno) + " ";
  return head + error.detail.substr(0, kLongestMessage - head.size());
}

Error decode_failure(std::string_view text) {
  std::ignore = take_word(text);
  Error error{Code::Internal, "", Origin::Kernel, Retry::No, 0};
  error.code = static_cast<Code>(take_number<int>(text));
  error.sys_errno = take_number<int>(text);
  error.detail = text;
  return error;
}

namespace {

// A sandbox that the command made is another user namespace, below its own.
bool is_in_or_below(pid_t pid, uint64_t inode) {
  UniqueFd at(::open(("/proc/" + std::to_string(pid) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  while (at) {
    struct stat info{};
    if (::fstat(at.get(), &info) != 0) return false;
    if (info.st_ino == inode) return true;
    at = UniqueFd(::ioctl(at.get(), NS_GET_PARENT));  // EPERM: that of whoever looks
  }
  return false;
}

}  // namespace

std::vector<pid_t> pids_in_namespace(uint64_t inode, pid_t keeper) {
  std::vector<pid_t> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc{} || parsed.ptr != name.data() + name.size()) continue;
    if (pid == keeper || pid == ::getpid() || inode == 0) continue;
    if (is_in_or_below(pid, inode)) out.push_back(pid);
  }
  return out;
}

void end_all_in_namespace(uint64_t inode, pid_t keeper, std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const std::vector<pid_t> left = pids_in_namespace(inode, keeper);
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    if (left.empty() || std::chrono::steady_clock::now() > until) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace tapdeck::app

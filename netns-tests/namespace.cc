#include "netns-tests/namespace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "netns-tests/cgroup.h"
#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/process.h"

namespace tapdeck::lab {
namespace {

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> list;
  for (std::string word; stream >> word;) list.push_back(word);
  return list;
}

Output ip_command(const std::string& arguments) {
  auto argv = words(arguments);
  argv.insert(argv.begin(), "ip");
  return run_to_end(argv);
}

void must_ip(const std::string& arguments) {
  const auto output = ip_command(arguments);
  if (output.status != 0) raise("ip " + arguments + ": " + output.err);
}

void remove_namespace(const std::string& name) {
  for (const auto& pid : words(ip_command("netns pids " + name).out)) ::kill(std::stoi(pid), SIGKILL);
  ignore_status(ip_command("netns del " + name));
}

// The kernel learns of a carrier up to a second late, and until then the addresses of a cable answer no neighbour: the
// first SYN of a test would wait for one to three seconds. To ask for the carrier makes it learn at once.
void settle(const CableEnd& end) {
  end.where.run([&] {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 0};
    ifreq request{};
    end.interface.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&link);
    if (::ioctl(fd.get(), SIOCETHTOOL, &request) != 0) raise_errno("carrier of " + end.interface);
  });
  const std::string tentative = "-6 addr show dev " + end.interface + " tentative";
  const bool settled =
      eventually(std::chrono::milliseconds(5000), [&] { return end.where.ip_output(tentative).empty(); });
  if (!settled) raise("the addresses of " + end.interface + " stay tentative");
}

}  // namespace

Namespace::Namespace(const std::string& role) : Namespace(Named{"td-" + role + "-" + std::to_string(::getpid())}) {
  if (::geteuid() != 0) raise("the network namespace tests need root; run: sudo make test");
  static const bool swept = (remove_leftovers(), true);
  static_cast<void>(swept);
  must_ip("netns add " + name_);
  fd_ = UniqueFd(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd_) raise_errno("open " + path());
  ip("link set lo up");
  set_sysctl("ipv4.tcp_congestion_control", "reno");
  // Link-local addresses too: a gateway that still looks for a duplicate of its own asks for no neighbour.
  set_sysctl("ipv6.conf.default.accept_dad", "0");
}

Namespace::~Namespace() {
  const bool failed = ::testing::Test::HasFailure();
  const bool keep = std::getenv("TAPDECK_LAB_KEEP") != nullptr;
  if (failed) std::cerr << "lab: nsenter --net=" << path() << (keep ? "" : "   (TAPDECK_LAB_KEEP=1 keeps it)") << "\n";
  fd_.reset();
  if (!keep || !failed) remove_namespace(name_);
}

void Namespace::run(const std::function<void()>& fn) const {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      if (::setns(fd_.get(), CLONE_NEWNET) != 0) raise_errno("setns " + name_);
      fn();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

void Namespace::set_sysctl(const std::string& key, const std::string& value) const {
  std::string file = "/proc/sys/net/" + key;
  for (auto& c : file) c = c == '.' ? '/' : c;
  run([&] {
    std::ofstream out(file);
    out << value << std::flush;
    if (!out) raise("write " + value + " to " + file + " in " + name_);
  });
}

void Namespace::ip(const std::string& arguments) const {
  must_ip("-n " + name_ + " " + arguments);
}

std::string Namespace::ip_output(const std::string& arguments) const {
  return ip_command("-n " + name_ + " " + arguments).out;
}

void connect(const CableEnd& a, const CableEnd& b) {
  must_ip("link add " + a.interface + " netns " + a.where.name() + " type veth peer name " + b.interface + " netns " +
          b.where.name());
  for (const auto* end : {&a, &b}) {
    end->where.ip("addr add " + end->v4 + " dev " + end->interface);
    end->where.ip("-6 addr add " + end->v6 + " dev " + end->interface + " nodad");
    end->where.ip("link set " + end->interface + " up");
  }
  for (const auto* end : {&a, &b}) settle(*end);
}

void remove_leftovers() {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", none)) {
    const auto name = entry.path().filename().string();
    const auto dash = name.rfind('-');
    if (!name.starts_with("td-") || dash == std::string::npos) continue;
    const int pid = std::atoi(name.c_str() + dash + 1);
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) remove_namespace(name);
  }
  remove_leftover_cgroups();
}

}  // namespace tapdeck::lab

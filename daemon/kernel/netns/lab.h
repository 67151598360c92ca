// lab: real namespaces, cgroups and client processes for the capture tests. Needs root. Every test runs in a network
// namespace of its own without any way out, so that nothing a test sends can leave the machine.
#pragma once

#include <sys/types.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/eventually.h"
#include "daemon/base/test_directory.h"
#include "daemon/base/unique_fd.h"
#include "daemon/kernel/capture.h"

namespace tapdeck::kernel::lab {

// Runs a shell command in the calling thread's namespace; fails the test when it fails.
void sh(const std::string& command);
[[nodiscard]] std::string output_of(const std::string& command);
[[nodiscard]] Endpoint ep(const std::string& text);

// Moves the calling thread into a fresh network namespace with lo up; back in the destructor.
class FreshNetns {
 public:
  FreshNetns();
  ~FreshNetns();

 private:
  UniqueFd before_;
};

// A further namespace, not entered: alive as long as its descriptor. lo is up in it.
class SideNetns {
 public:
  SideNetns();
  [[nodiscard]] int fd() const { return fd_.get(); }
  // "nsenter --net=… " for sh().
  [[nodiscard]] std::string prefix() const;

 private:
  UniqueFd fd_;
};

// A cgroup2 directory tapdeck-test-*, removed at the end.
class TestCgroup {
 public:
  TestCgroup();
  ~TestCgroup();
  [[nodiscard]] const std::string& path() const { return path_; }
  void remove();
  void make();
  // cgroup BPF programs attached to it, all kinds together.
  [[nodiscard]] int attached_programs() const;

 private:
  std::string path_;
};

struct Report {
  int error = 0;  // errno of what the client did, 0 = done
  pid_t pid = 0;
  Endpoint peer;   // getpeername
  Endpoint local;  // getsockname
  int count = 0;
};

// A forked process in `cgroup` (empty: ours) and `netns_fd` (-1: ours) that runs `body`, reports, and stays until the
// object dies. `body` may only make system calls: the parent has threads.
class Client {
 public:
  using Body = std::function<void(Report&)>;
  Client(const std::string& cgroup, int netns_fd, const Body& body);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  // Waits for it.
  [[nodiscard]] Report report();
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill_and_wait();

 private:
  pid_t pid_ = -1;
  UniqueFd channel_;
};

enum class Only6 : uint8_t { No, Yes };
struct ConnectOptions {
  Endpoint to;
  uint16_t from_port = 0;
  std::string device = {};  // SO_BINDTODEVICE
  int as_family = 0;        // AF_INET6 with an IPv4 destination: v4-mapped
  Only6 only6 = Only6::No;  // IPV6_V6ONLY
};
// A TCP connect with a 3 s limit.
[[nodiscard]] Client::Body connects(ConnectOptions options);
// Connected: a connect alone, else one datagram by sendto.
enum class Connected : uint8_t { No, Yes };
[[nodiscard]] Client::Body sends_udp(const Endpoint& to, Connected connected);
// Connects, sends one datagram and waits for what comes back, ten seconds at most.
[[nodiscard]] Client::Body asks_udp(const Endpoint& to);

struct Accepted {
  UniqueFd fd;
  Endpoint client;
  Endpoint local;
  ListenerKey key;
};

// Collects what Capture hands out and accepts on it.
class Sink final : public ListenerSink {
 public:
  void add_listener(CapturedListener listener) override;
  void remove_listener(uint64_t listener_id) override;
  void on_cgroup_gone(uint32_t target) override;
  void on_cgroup_back(uint32_t target) override;
  void on_refused(const Refusal& refusal) override;
  void on_refused_as_recorded(const Refusal& refusal) override;
  void on_left_cgroup(const Departure& departure) override;

  // Waits up to `milliseconds` for a connection on any listener; fd is empty when none came.
  [[nodiscard]] Accepted accept(int milliseconds = 5000);
  [[nodiscard]] std::vector<Endpoint> addresses();
  [[nodiscard]] std::vector<Refusal> refusals();
  [[nodiscard]] std::vector<Refusal> refusals_as_recorded();
  [[nodiscard]] std::vector<Departure> departures();
  void add_door(NameDoor door) override;
  void remove_door(uint64_t id) override;
  void on_name_seen(const NameSighting& seen) override;
  void on_names_lost(uint64_t more) override;
  struct Question {
    int fd = -1;  // of its door
    Endpoint client, door;
    uint64_t netns_cookie = 0;
    std::string bytes;
  };
  // The same of a door of the tc path, and where it was sent to.
  struct Sent {
    int fd = -1;
    uint32_t target = kNoTarget;
    Endpoint from, to;  // `to` without its port
    std::string bytes;
  };
  [[nodiscard]] Sent sent(Endpoint::Family family);
  // From there.
  static void answer(const Sent& asked, const std::string& bytes);
  // Waits for a datagram at a door of that family; fd is -1 when none came within ten seconds.
  [[nodiscard]] Question question(Endpoint::Family family);
  [[nodiscard]] size_t doors();
  struct Seen {
    NameSighting sighting;  // without the bytes
    std::string bytes;
  };
  [[nodiscard]] std::vector<Seen> names_seen();
  [[nodiscard]] uint64_t names_lost();
  [[nodiscard]] int gone();
  [[nodiscard]] int back();
  std::function<void(int times)> when_gone;  // by the control thread; set before there is one

 private:
  std::mutex mutex_;
  std::vector<CapturedListener> listeners_;
  std::vector<Refusal> refusals_;
  std::vector<Refusal> as_recorded_;
  std::vector<Departure> departures_;
  std::vector<NameDoor> doors_;
  std::vector<Seen> names_;
  uint64_t names_lost_ = 0;
  int gone_ = 0;
  int back_ = 0;
};

// A plain listening socket of the test.
[[nodiscard]] UniqueFd listen_on(const Endpoint& address);
[[nodiscard]] bool accepts_within(const UniqueFd& listener, int milliseconds);

}  // namespace tapdeck::kernel::lab

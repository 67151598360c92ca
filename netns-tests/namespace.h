// Namespace: one network namespace the test made itself, gone when the object is. Also the cables (veth) between two.
//
// Names are td-ROLE-PID, so that leftovers of a crashed test are recognised (their PID is dead) and removed at the next
// start. On a failed test the destructor prints how to enter; TAPDECK_LAB_KEEP=1 keeps everything for a look.
// Thread: one; run() uses a thread of its own.
#pragma once

#include <functional>
#include <string>

#include "daemon/base/unique_fd.h"

namespace tapdeck::lab {

class Namespace {
 public:
  // lo is up and the congestion control is reno: bbr paces loopback, and cubic is not allowed outside the first
  // namespace everywhere. Throws LabError without root.
  explicit Namespace(const std::string& role);
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  ~Namespace();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string path() const { return "/run/netns/" + name_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Calls fn on a thread bound to this namespace; returns when it has. Sockets made there stay there. Rethrows.
  void run(const std::function<void()>& fn) const;
  // Writes a /proc/sys/net key of this namespace, e.g. ("ipv4.ip_forward", "1").
  void set_sysctl(const std::string& key, const std::string& value) const;
  // `ip -n NAME ...`, words separated by blanks. Throws LabError with ip's own words.
  void ip(const std::string& arguments) const;
  // The same output as text, e.g. of "rule show".
  [[nodiscard]] std::string ip_output(const std::string& arguments) const;

 private:
  // Delegated to, so that the destructor cleans up when the rest of the construction throws.
  struct Named {
    std::string name;
  };
  explicit Namespace(Named named) : name_(std::move(named.name)) {}

  std::string name_;
  UniqueFd fd_;
};

// One end of a cable: interface name and its addresses with prefix length.
struct CableEnd {
  const Namespace& where;
  std::string interface;
  std::string v4;
  std::string v6;
};

// A veth pair, both ends up and addressed (IPv6 with nodad: the first second is not lost).
void connect(const CableEnd& a, const CableEnd& b);

// Removes namespaces and cgroups named td-*-PID whose PID is dead, and kills what still runs inside them.
void remove_leftovers();

}  // namespace tapdeck::lab

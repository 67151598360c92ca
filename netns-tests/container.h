// Container: a real podman container (runc, netavark bridge) inside the lab's gw, from the cached Debian root file
// system that make_rootfs prints; the overlay keeps the cache clean. Removed with the object. Thread: one.
#pragma once

#include <string>
#include <vector>

#include "netns-tests/process.h"
#include "netns-tests/topology.h"

namespace tapdeck::lab {

struct ContainerOptions {
  std::string role = "c";
  std::string rootfs = "clients";  // of make_rootfs
  std::vector<std::string> flags = {};
  std::vector<std::string> command = {"sleep", "infinity"};
};

// CONTAINERS_CONF for everything that calls podman, the daemon included.
[[nodiscard]] std::map<std::string, std::string> container_environment();

class Container {
 public:
  Container(Topology& lab, ContainerOptions options = {});
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;
  ~Container();

  [[nodiscard]] const std::string& name() const { return name_; }
  // `podman exec NAME ARGV`.
  Output exec(const std::vector<std::string>& argv,
              std::chrono::milliseconds deadline = std::chrono::seconds(60)) const;
  // `podman WORDS NAME`, e.g. {"restart", "-t", "0"}; LabError when it fails.
  Output podman(std::vector<std::string> words) const;

 private:
  void remove() const;

  Topology& lab_;
  std::string name_;
};

}  // namespace tapdeck::lab

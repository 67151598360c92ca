// Topology: client | gw | origin, the network every namespace test runs in. gw stands for the host: the daemon lives
// there, it forwards, and it has NO default route, so that a capture that fails open cannot leave the lab.
//
// Addresses: client 10.77.1.2, fd77:1::2 - gw 10.77.1.1/10.77.2.1 - origin 10.77.2.2, fd77:2::2.
// Names (hosts file): v4.origin.test, v6.origin.test, origin.test (both). Thread: one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "netns-tests/cert_authority.h"
#include "netns-tests/cgroup.h"
#include "netns-tests/namespace.h"
#include "netns-tests/process.h"

namespace tapdeck::lab {

inline constexpr const char* kOriginV4 = "10.77.2.2";
inline constexpr const char* kOriginV6 = "fd77:2::2";
// The interface of gw that leads to the first client: what the tc path attaches to.
inline constexpr const char* kClientSide = "to-client";

class Topology {
 public:
  Topology();

  [[nodiscard]] const Namespace& client() const { return client_; }
  [[nodiscard]] const Namespace& gw() const { return gw_; }
  [[nodiscard]] const Namespace& origin() const { return origin_; }
  [[nodiscard]] const TempDir& directory() const { return directory_; }
  [[nodiscard]] CertAuthority& ca() { return ca_; }
  // A leaf for the origin's names and addresses.
  [[nodiscard]] const Leaf& leaf() const { return leaf_; }
  [[nodiscard]] std::filesystem::path hosts_file() const { return directory_ / "hosts"; }
  // Another client namespace at 10.77.1N.2, fd77:1N::2, behind gw's interface to-clientN (N from 1).
  const Namespace& add_client();

 private:
  TempDir directory_;
  Namespace client_{"client"};
  Namespace gw_{"gw"};
  Namespace origin_{"origin"};
  std::vector<std::unique_ptr<Namespace>> more_;
  CertAuthority ca_{directory_.path()};
  Leaf leaf_;
};

}  // namespace tapdeck::lab

// CertAuthority: the lab's own CA, standing for the public ones that origins are signed by. Not tapdeck's CA.
// Keys are ECDSA P-256; everything lies as PEM below one directory. Thread: one.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace tapdeck::lab {

struct Leaf {
  std::filesystem::path certificate;
  std::filesystem::path key;
};

struct LeafOptions {
  std::vector<std::string> dns = {};
  std::vector<std::string> ips = {};
  std::chrono::seconds valid_from{-3600};  // relative to now
  std::chrono::seconds valid_to{86400};
  bool self_signed = false;
};

class CertAuthority {
 public:
  explicit CertAuthority(const std::filesystem::path& directory);
  CertAuthority(const CertAuthority&) = delete;
  CertAuthority& operator=(const CertAuthority&) = delete;
  ~CertAuthority();

  [[nodiscard]] std::filesystem::path certificate() const { return directory_ / "lab-ca.pem"; }
  [[nodiscard]] Leaf issue(const LeafOptions& options);

 private:
  struct Keys;
  std::filesystem::path directory_;
  std::unique_ptr<Keys> keys_;
  long serial_ = 1000;
};

}  // namespace tapdeck::lab

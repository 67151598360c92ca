// Minting of server certificates: one function from a description to a leaf with its own ECDSA P-256 key.
//
// Not a cache (leaf_cache.h) and no policy about which leaf a client should see, except mirror_leaf(). Thread: any.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/tls/ca.h"
#include "daemon/tls/clock.h"
#include "daemon/tls/openssl_fwd.h"
#include "daemon/tls/verify.h"

namespace tapdeck::tls {

enum class LeafShape {
  Good,
  Expired,          // validity ends before now
  NotYetValid,      // validity begins after now
  WrongName,        // `dns_names`/`ips` are the upstream's, not what the client asked for
  SelfSigned,       // signed by its own key
  UntrustedIssuer,  // signed by the CA that nobody trusts
};

struct LeafSpec {
  // What the certificate carries as SANs, wildcards allowed in the first label. Together with `common_name` 1..100.
  std::vector<std::string> dns_names{};
  std::vector<std::string> ips{};  // textual IPv4 or IPv6, no zone
  LeafShape shape = LeafShape::Good;
  // Default: for Good leaf_days in all, the first two of them past (clock skew), of fewer than four the half; for
  // Expired and NotYetValid a day on the wrong side.
  struct Validity {
    Time not_before;
    Time not_after;
    bool operator==(const Validity&) const = default;
  };
  std::optional<Validity> validity{};
  // Not empty: the name, in place of `dns_names`, of a leaf that has none among its SANs; at most 64 bytes.
  std::string common_name{};

  bool operator==(const LeafSpec&) const = default;
};

// A Good leaf for what the client asked for: a host name becomes a DNS SAN, an address an IP SAN.
[[nodiscard]] LeafSpec leaf_for(std::string_view host_or_ip);
// The same without a SAN, as an origin's that has only a common name: a client accepts it if and only if it would have
// accepted the origin's. For an address, or a name too long for that, leaf_for().
[[nodiscard]] LeafSpec leaf_without_san(std::string_view host_or_ip);

// Shows a client that asked for `host_or_ip` the failure in `report` (failure != None).
// SelfSigned stays self-signed; UntrustedIssuer, Revoked and Other come from the untrusted CA. Where the upstream's
// chain was good but for dates or names, the leaf comes from our CA with exactly the upstream's dates or names: a
// client accepts it if and only if it would have accepted the upstream. Dates and names that are wrong besides are
// shown in the same leaf; where the report lacks them (of a recording) they are made up. Signed by the untrusted CA
// every such failure would look like an unknown issuer to OpenSSL, Chrome and Go alike.
[[nodiscard]] LeafSpec mirror_leaf(std::string_view host_or_ip, const PeerReport& report, Time now);

struct Leaf {
  CertPtr certificate;
  KeyPtr key;
  std::shared_ptr<stack_st_X509> chain;  // to be sent behind it; null: nothing
  Time not_before{};
  Time not_after{};
};

struct MintOptions {
  std::chrono::days lifetime{7};          // from notBefore
  std::chrono::seconds backdate{172800};  // of these; at most half of them
  Time now = system_now();
};

// Signs a leaf; for SelfSigned `issuer` is unused, for UntrustedIssuer pass the untrusted CA.
// Errors: InvalidArgument for no name at all, too many, a name with bytes outside LDH, '_', '.' and a leading "*.", or
// an unparsable address; Internal when OpenSSL fails.
[[nodiscard]] Result<Leaf> mint(const CertificateAuthority& issuer, const LeafSpec& spec,
                                const MintOptions& options = {});

}  // namespace tapdeck::tls

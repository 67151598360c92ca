// Private to daemon/tls: X509 chain verification that goes on after a failure, so that the report names all that is
// wrong and picks the gravest. Thread: the session's.
#pragma once

#include <openssl/x509_vfy.h>

#include "daemon/tls/verify.h"

namespace tapdeck::tls {

// Runs X509_verify_cert on a prepared context and fills `report`, also on success. False when verification failed; the
// context's error is then the gravest one, so that the alert sent fits.
[[nodiscard]] bool verify_chain(X509_STORE_CTX* chain, PeerReport& report);

// Names, dates and digest of a leaf; leaves failure and detail alone.
void describe_leaf(x509_st* leaf, PeerReport& report);

}  // namespace tapdeck::tls

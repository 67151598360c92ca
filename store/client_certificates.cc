#include "store/client_certificates.h"

#include "store/exchange_store.h"

namespace tapdeck::store {

namespace {

// Its row stands beside the origin's, where those of offers by ALPN stand: this is none.
constexpr std::string_view kOffer = "\1client_certificate";

}  // namespace

PendingWrite certificate_request_write(const Take& take, std::string_view host, uint16_t port) {
  return origin_write(take, host, port, {}, {std::string(kOffer), "", true});
}

bool asks_for_certificates(const ExchangeStore& store, std::string_view session, const KeyParts& asked) {
  if (asked.scheme != "https") return false;
  const auto facts = store.origin_facts(session, asked.host, asked.port, kOffer);
  return facts && *facts && (*facts)->is_of_offer;
}

}  // namespace tapdeck::store

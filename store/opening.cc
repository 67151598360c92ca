#include "store/opening.h"

#include <string_view>

#include "daemon/base/ascii.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr size_t kScan = 5000;

// Its row stands beside the origin's, where those of offers by ALPN stand: this is none.
std::string offer_of(const Place& place) {
  return "\1greeting," + place.scheme;
}

enum class Near : uint8_t { No, SamePort, SamePlace };

Near nearness(const Recording& recording, const Place& place) {
  if (recording.scheme != place.scheme || recording.port != place.port) return Near::No;
  const bool is_there =
      lowered(recording.host) == place.host ||
      (place.address.family != Endpoint::Family::None && recording.provenance.original_destination == place.address);
  return is_there ? Near::SamePlace : Near::SamePort;
}

}  // namespace

PendingWrite greeting_write(const Take& take, const Place& place) {
  return origin_write(take, place.host, place.port, {}, {offer_of(place), "", true});
}

Result<Opening> ExchangeStore::opening(std::string_view session, Place place) const {
  place.host = lowered(place.host);
  TRY(found, impl_->find_session(session));
  const auto guard = impl_->use();
  TRY_VOID(impl_->need_open());
  TRY(greeting,
      impl_->read(Family::Origins, alpn_row(origin_row(found.first, place.port, place.host), offer_of(place))));
  // Requests elsewhere on this port do only where there was no greeting.
  const Near enough = greeting ? Near::SamePlace : Near::SamePort;
  auto rows = impl_->iterate(Family::Recordings, Cached::No);
  const std::string prefix = session_prefix(found.first);
  size_t scanned = 0;
  for (rows->SeekForPrev(recording_key(found.first, ~0ull));
       rows->Valid() && rows->key().starts_with(prefix) && scanned < kScan; rows->Prev(), ++scanned) {
    const auto recording = decode_record(rows->value().ToStringView());
    if (!recording) continue;  // one damaged record must not hide the others
    if (nearness(*recording, place) >= enough) return Opening::Client;
  }
  const Opening opening = greeting ? Opening::Origin : Opening::Unknown;
  if (impl_->older == nullptr) return opening;
  const auto before = impl_->older->opening(session, std::move(place));
  return before && *before != Opening::Unknown ? *before : opening;
}

}  // namespace tapdeck::store

#include "daemon/modes/body_key.h"

#include <span>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/coding/decoder.h"
#include "daemon/grpc/call.h"
#include "daemon/modes/cookie_body.h"
#include "daemon/modes/grpc_digest.h"

namespace tapdeck::modes {
namespace {

// The body without its content codings.
class DecodedBody final : public CanonicalBody {
 public:
  DecodedBody(std::span<const coding::Coding> codings, const store::KeyHasher& hasher)
      : hasher_(hasher), sha_(hasher.begin()), decoder_(codings, {}) {}

  void update(std::string_view bytes) override {
    if (!good_ || bytes.empty()) return;
    empty_ = false;
    auto fed = decoder_.feed(bytes, [this](std::string_view piece) { sha_.update(piece); });
    good_ = fed.has_value();
  }

  bool finish(store::KeyBuilder& key) override {
    if (empty_) return true;  // no bytes at all: the same as any empty body
    if (!good_ || !decoder_.finish()) return false;
    key.canonical_body(decoder_.output_bytes() == 0 ? store::Digest{} : hasher_.finish(sha_));
    return true;
  }

 private:
  const store::KeyHasher& hasher_;
  store::Sha256 sha_;
  coding::Decoder decoder_;
  bool good_ = true;
  bool empty_ = true;
};

std::unique_ptr<CanonicalBody> choose(const config::Route* route, const http::RequestHead& head,
                                      const store::KeyHasher& hasher, Metrics& metrics) {
  if (grpc::is_call(head)) return std::make_unique<GrpcBody>(head, rules_of(route), hasher, metrics);
  const auto codings = coding::codings_of(head.headers);
  if (!codings || codings->empty()) return nullptr;
  return std::make_unique<DecodedBody>(*codings, hasher);
}

}  // namespace

BodyKey::BodyKey(const config::Route* route, const http::RequestHead& head, const store::KeyHasher& hasher,
                 Metrics& metrics)
    : head_(head),
      hasher_(hasher),
      canonical_(choose(route, head, hasher, metrics)),
      metrics_(metrics),
      has_cookies_(canonical_ == nullptr && head.headers.find("cookie")) {}

void BodyKey::remember(std::string_view bytes) {
  const size_t room = kBeginning - beginning_.size();
  if (bytes.size() > room) has_cookies_ = false;
  beginning_ += bytes.substr(0, room);
  if (!has_cookies_ && !keeps_beginning_) beginning_ = {};
}

void BodyKey::finish(store::KeyBuilder& key) {
  if (std::exchange(has_cookies_, false)) {
    const auto digest = digest_without_cookies(beginning_, head_.headers, hasher_);
    holds_cookie_ = digest.has_value();
    if (digest) key.canonical_body(*digest);
  }
  if (!keeps_beginning_) beginning_ = {};
  const std::unique_ptr<CanonicalBody> canonical = std::move(canonical_);
  if (canonical == nullptr || canonical->finish(key)) return;
  metrics_.add(Counter::BodyKeyRaw);
  log::peer(log::Level::Warn, "match.body_raw", "a request body is matched by its bytes: it does not decode", {});
}

}  // namespace tapdeck::modes

// BodyKey: what of a request body goes into the match key. Wire bytes are what is recorded and sent; what is compared
// may be a canonical form of them: the body without its content codings, so that the same body compressed differently,
// or not at all, matches; or one with the names of cookies in place of their values (cookie_body.h).
//
// The raw bytes are fed to the KeyBuilder as ever (RecordingBuilder::body, or the caller) and stand when there is no
// canonical form, or none could be made: malformed, in an unknown coding, or beyond coding::Bounds. That is counted and
// never an error. Owner: one exchange. Thread: the worker's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/http/message.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// A canonical form in the making. One implementation a kind of body.
class CanonicalBody {
 public:
  CanonicalBody() = default;
  CanonicalBody(const CanonicalBody&) = delete;
  CanonicalBody& operator=(const CanonicalBody&) = delete;
  virtual ~CanonicalBody() = default;
  // Content bytes (chunk framing removed), in any portions.
  virtual void update(std::string_view bytes) = 0;
  // Once, after the last byte: replaces the body in `key` (KeyBuilder::canonical_body), or adds dimensions. False: no
  // canonical form, the raw bytes stand.
  [[nodiscard]] virtual bool finish(store::KeyBuilder& key) = 0;
};

class BodyKey {
 public:
  // Chooses by the route (nullptr: none) and the request's head. A body without a coding, of a request without cookies,
  // costs nothing. All else must outlive it.
  BodyKey(const config::Route* route, const http::RequestHead& head, const store::KeyHasher& hasher, Metrics& metrics);

  // For take_beginning().
  void keep_beginning() { keeps_beginning_ = true; }
  void update(std::string_view bytes) {
    if (canonical_ != nullptr) canonical_->update(bytes);
    if (has_cookies_ || keeps_beginning_) remember(bytes);
  }
  // Settles the body's part of `key`: after the whole body, before KeyBuilder::key(). Later calls do nothing.
  void finish(store::KeyBuilder& key);
  // After finish(): the canonical form is without cookies, which versions before this one did not know.
  [[nodiscard]] bool holds_cookie() const { return holds_cookie_; }
  // After finish(), once: of the body as it was sent, at most kBeginning bytes; empty if it was not to be kept.
  [[nodiscard]] std::string take_beginning() { return std::exchange(beginning_, {}); }
  static constexpr size_t kBeginning = 64 << 10;

 private:
  void remember(std::string_view bytes);

  const http::RequestHead& head_;
  const store::KeyHasher& hasher_;
  std::unique_ptr<CanonicalBody> canonical_;  // null: raw bytes
  std::string beginning_;
  Metrics& metrics_;
  bool has_cookies_;  // and no canonical form; cleared when the body is longer than what is looked through
  bool keeps_beginning_ = false;
  bool holds_cookie_ = false;
};

}  // namespace tapdeck::modes

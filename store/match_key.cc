#include "store/match_key.h"

// The one-shot EVP interface fetches and allocates on each use (0.4 us in OpenSSL 3.0); the plain one is a value that
// can be copied, which is what a precomputed HMAC key needs. It runs the same SHA-NI code.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

#include "daemon/base/ascii.h"

namespace tapdeck::store {
namespace {

static_assert(sizeof(SHA256_CTX) == 112);
constexpr size_t kBlock = 64;
// Fields are told apart by a tag, so that adding one later cannot make two different requests equal.
enum class Tag : char { Scheme = 1, Host, Port, Method, Path, Query, Body, Dimension };
constexpr char kKeyVersion = 1;
constexpr std::string_view kAuthority = "authority";
constexpr std::string_view kField = "header:";

// Gathers the small fields, so that SHA-256 is updated once.
class FieldBuffer {
 public:
  explicit FieldBuffer(Sha256& sha) : sha_(sha) {}
  void field(Tag tag, std::string_view bytes) {
    char head[9] = {static_cast<char>(tag)};
    const uint64_t size = bytes.size();
    std::memcpy(head + 1, &size, sizeof size);  // x86 and arm64: little endian on every host we build for
    append({head, sizeof head});
    append(bytes);
  }
  void append(std::string_view bytes) {
    if (bytes.size() > sizeof buffer_ - used_) {
      flush();
      if (bytes.size() > sizeof buffer_) return sha_.update(bytes);
    }
    std::memcpy(buffer_ + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
  }
  void flush() {
    sha_.update({buffer_, used_});
    used_ = 0;
  }

 private:
  Sha256& sha_;
  char buffer_[512];
  size_t used_ = 0;
};

// Of "host:port", "[v6]:port" or "host".
std::string host_in(std::string_view authority) {
  const size_t close = authority.starts_with('[') ? authority.find(']') : std::string_view::npos;
  if (close != std::string_view::npos) return std::string(authority.substr(1, close - 1));
  return std::string(authority.substr(0, authority.find(':')));
}

std::string describe_body(const KeyParts& parts) {
  if (parts.body_size == 0) return "<no body>";
  return "<" + std::to_string(parts.body_size) + " bytes, " + to_hex(parts.body_digest).substr(0, 8) + ">";
}

const KeyDimension* find_dimension(const KeyParts& parts, const std::string& name) {
  const auto found = std::ranges::find(parts.dimensions, name, &KeyDimension::name);
  return found == parts.dimensions.end() ? nullptr : &*found;
}

std::string describe(const KeyParts& parts, const KeyDimension* dimension) {
  if (dimension == nullptr) return "<absent>";
  if (dimension->name == kAuthority && !parts.authority.empty()) return parts.authority;
  if (dimension->name.starts_with(kField)) {
    const auto value = parts.fields.find(std::string_view(dimension->name).substr(kField.size()));
    if (value) return std::string(*value);
  }
  return to_hex(dimension->value).substr(0, 8);
}

void compare_dimensions(const KeyParts& recorded, const KeyParts& requested, std::vector<Difference>& out) {
  for (const KeyDimension& dimension : requested.dimensions) {
    const KeyDimension* there = find_dimension(recorded, dimension.name);
    if (there != nullptr && there->value == find_dimension(requested, dimension.name)->value) continue;
    out.push_back({dimension.name, describe(recorded, there), describe(requested, &dimension)});
  }
  for (const KeyDimension& dimension : recorded.dimensions) {
    if (find_dimension(requested, dimension.name) != nullptr) continue;
    out.push_back({dimension.name, describe(recorded, &dimension), describe(requested, nullptr)});
  }
}

// As they are stored: redacted.
http::Headers fields_of(const Recording& recording) {
  http::Headers fields;
  for (const KeyDimension& dimension : recording.dimensions) {
    if (!dimension.name.starts_with(kField)) continue;
    const std::string_view name = std::string_view(dimension.name).substr(kField.size());
    if (const auto value = recording.request.headers.find(name)) fields.add(name, *value);
  }
  return fields;
}

}  // namespace

Sha256::Sha256() {
  SHA256_Init(reinterpret_cast<SHA256_CTX*>(state_.data()));
}

void Sha256::update(std::string_view bytes) {
  SHA256_Update(reinterpret_cast<SHA256_CTX*>(state_.data()), bytes.data(), bytes.size());
}

Digest Sha256::finish() {
  Digest out;
  SHA256_Final(out.data(), reinterpret_cast<SHA256_CTX*>(state_.data()));
  return out;
}

Digest content_digest(std::string_view bytes) {
  Sha256 sha;
  sha.update(bytes);
  return sha.finish();
}

KeyHasher::KeyHasher(const Secret& secret) {
  // RFC 2104: the key is padded to a block and combined with 0x36 inside and 0x5c outside.
  char inner[kBlock], outer[kBlock];
  std::memset(inner, 0x36, kBlock);
  std::memset(outer, 0x5c, kBlock);
  for (size_t i = 0; i < secret.size(); ++i) {
    inner[i] = static_cast<char>(inner[i] ^ secret[i]);
    outer[i] = static_cast<char>(outer[i] ^ secret[i]);
  }
  inner_.update({inner, kBlock});
  outer_.update({outer, kBlock});
}

Digest KeyHasher::finish(Sha256& running) const {
  const Digest inner = running.finish();
  Sha256 outer = outer_;
  outer.update(view(inner));
  return outer.finish();
}

Digest KeyHasher::of(std::string_view bytes) const {
  Sha256 sha = begin();
  sha.update(bytes);
  return finish(sha);
}

KeyBuilder::KeyBuilder(const KeyHasher& hasher, std::string_view scheme, std::string_view host, uint16_t port,
                       std::string_view method, std::string_view target)
    : hasher_(hasher), body_(hasher.begin()) {
  const auto [path, query] = http::split_target(target);
  parts_.scheme = scheme;
  parts_.host = lowered(host);
  parts_.port = port;
  parts_.method = method;
  parts_.path = path;
  parts_.query = query;
}

void KeyBuilder::body(std::string_view bytes) {
  if (bytes.empty()) return;
  body_.update(bytes);
  parts_.body_size += bytes.size();
}

void KeyBuilder::dimension(std::string_view name, std::string_view value) {
  parts_.dimensions.push_back({std::string(name), hasher_.of(value)});
  if (name == kAuthority) parts_.authority = value;
}

void KeyBuilder::field(std::string_view name, std::string_view value) {
  dimension(std::string(kField) + lowered(name), value);
  parts_.fields.add(name, value);
}

Key KeyBuilder::key() {
  if (canonical_) {
    parts_.body_digest = *canonical_;
  } else if (parts_.body_size != 0) {
    parts_.body_digest = hasher_.finish(body_);
  }
  Sha256 sha = hasher_.begin();
  FieldBuffer fields(sha);
  fields.append({&kKeyVersion, 1});
  fields.field(Tag::Scheme, parts_.scheme);
  fields.field(Tag::Host, parts_.host);
  const char port[2] = {static_cast<char>(parts_.port >> 8), static_cast<char>(parts_.port & 255)};
  fields.field(Tag::Port, {port, sizeof port});
  fields.field(Tag::Method, parts_.method);
  fields.field(Tag::Path, parts_.path);
  fields.field(Tag::Query, parts_.query);
  if (parts_.body_digest != Digest{}) fields.field(Tag::Body, view(parts_.body_digest));
  for (const auto& [name, value] : parts_.dimensions) {
    fields.field(Tag::Dimension, name);
    fields.append(view(value));
  }
  fields.flush();
  return {hasher_.finish(sha)};
}

std::string_view key_method(const http::RequestHead& head) {
  return head.method == "CONNECT" && http::is_websocket(head) ? std::string_view("GET") : head.method;
}

KeyParts parts_of(const Recording& recording) {
  const auto [path, query] = http::split_target(recording.request.target);
  // The messages of a WebSocket lie in the request's body, but are no part of the request.
  const bool has_body = recording.request_body_digest != Digest{};
  return {recording.scheme,
          recording.host,
          recording.port,
          std::string(key_method(recording.request)),
          std::string(path),
          std::string(query),
          recording.request_body_digest,
          has_body ? recording.request_body.size : 0,
          recording.dimensions,
          host_in(recording.request.authority),
          fields_of(recording)};
}

std::vector<Difference> differences(const KeyParts& recorded, const KeyParts& requested) {
  std::vector<Difference> out;
  const auto compare = [&out](const char* where, const std::string& a, const std::string& b) {
    if (a != b) out.push_back({where, a, b});
  };
  compare("method", recorded.method, requested.method);
  compare("scheme", recorded.scheme, requested.scheme);
  compare("host", recorded.host, requested.host);
  compare("port", std::to_string(recorded.port), std::to_string(requested.port));
  compare("path", recorded.path, requested.path);
  compare("query", recorded.query, requested.query);
  if (recorded.body_digest != requested.body_digest)
    out.push_back({"body", describe_body(recorded), describe_body(requested)});
  compare_dimensions(recorded, requested, out);
  return out;
}

}  // namespace tapdeck::store

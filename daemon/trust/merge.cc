#include "daemon/trust/merge.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <memory>
#include <unordered_set>

namespace tapdeck::trust {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

struct Block {
  std::string_view text;  // with its BEGIN and END lines, no newline after
  std::string body;       // base64 without white space
};

bool is_certificate_label(std::string_view label) {
  return label == "CERTIFICATE" || label == "X509 CERTIFICATE" || label == "TRUSTED CERTIFICATE";
}

std::string without_space(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n') out += c;
  }
  return out;
}

std::vector<Block> blocks_of(std::string_view bundle) {
  std::vector<Block> blocks;
  size_t at = 0;
  while ((at = bundle.find(kBegin, at)) != std::string_view::npos) {
    const size_t label_at = at + kBegin.size();
    const size_t label_end = bundle.find(kDashes, label_at);
    if (label_end == std::string_view::npos) break;
    const std::string_view label = bundle.substr(label_at, label_end - label_at);
    const size_t body_at = label_end + kDashes.size();
    const std::string closing = std::string(kEnd) + std::string(label) + std::string(kDashes);
    const size_t body_end = bundle.find(kDashes, body_at);
    // The next run of dashes must be this block's own end: a BEGIN there means that this one was cut off.
    if (!is_certificate_label(label) || body_end == std::string_view::npos ||
        bundle.substr(body_end, closing.size()) != closing) {
      at = label_at;
      continue;
    }
    const size_t end = body_end + closing.size();
    std::string body = without_space(bundle.substr(body_at, body_end - body_at));
    if (!body.empty()) blocks.push_back(Block{bundle.substr(at, end - at), std::move(body)});
    at = end;
  }
  return blocks;
}

}  // namespace

Result<CaCertificate> parse_ca(std::string_view pem) {
  const std::vector<Block> blocks = blocks_of(pem);
  if (blocks.empty()) return fail(Code::InvalidArgument, "the CA holds no CERTIFICATE block");
  CaCertificate ca;
  ca.pem = std::string(blocks.front().text) + "\n";
  const std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new_mem_buf(ca.pem.data(), static_cast<int>(ca.pem.size())),
                                                BIO_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr, X509_free);
  if (!certificate) {
    ERR_clear_error();
    return fail(Code::InvalidArgument, "the CA's CERTIFICATE block does not parse");
  }
  char hash[16];
  std::snprintf(hash, sizeof hash, "%08lx", X509_subject_name_hash(certificate.get()));
  ca.subject_hash = hash;
  return ca;
}

std::vector<std::string> certificate_bodies(std::string_view bundle) {
  std::vector<std::string> bodies;
  for (Block& block : blocks_of(bundle)) bodies.push_back(std::move(block.body));
  return bodies;
}

std::string certificates_only(std::string_view bundle) {
  std::string out;
  for (const Block& block : blocks_of(bundle)) out.append(block.text).append("\n");
  return out;
}

Result<std::string> merge_bundles(std::string_view bundle, std::span<const std::string> additions, size_t limit) {
  if (bundle.size() > limit) return fail(Code::TooLarge, "bundle larger than " + std::to_string(limit) + " bytes");
  std::unordered_set<std::string> known;
  for (std::string& body : certificate_bodies(bundle)) known.insert(std::move(body));
  std::string merged(bundle);
  if (!merged.empty() && merged.back() != '\n') merged += '\n';
  for (const std::string& addition : additions) {
    for (Block& block : blocks_of(addition)) {
      if (!known.insert(std::move(block.body)).second) continue;
      if (merged.size() + block.text.size() + 1 > limit) {
        return fail(Code::TooLarge, "merged bundle larger than " + std::to_string(limit) + " bytes");
      }
      merged += block.text;
      merged += '\n';
    }
  }
  return merged;
}

}  // namespace tapdeck::trust

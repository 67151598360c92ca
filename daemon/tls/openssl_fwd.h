// Forward declarations and owning pointers for OpenSSL types, so that no header of ours includes OpenSSL's.
// Not an API of its own; the deleters live in openssl_util.cc.
#pragma once

#include <memory>

struct bio_st;
struct evp_pkey_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;
struct stack_st_X509;
struct x509_st;
struct x509_store_st;

namespace tapdeck::tls {

struct OpensslDeleter {
  void operator()(evp_pkey_st* key) const;
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_session_st* session) const;
  void operator()(ssl_st* ssl) const;
  void operator()(x509_st* certificate) const;
  void operator()(x509_store_st* store) const;
};

using KeyPtr = std::unique_ptr<evp_pkey_st, OpensslDeleter>;
using SslContextPtr = std::unique_ptr<ssl_ctx_st, OpensslDeleter>;
using SslSessionPtr = std::unique_ptr<ssl_session_st, OpensslDeleter>;
using SslPtr = std::unique_ptr<ssl_st, OpensslDeleter>;
using CertPtr = std::unique_ptr<x509_st, OpensslDeleter>;
using StorePtr = std::unique_ptr<x509_store_st, OpensslDeleter>;

}  // namespace tapdeck::tls

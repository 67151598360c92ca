// AccessLog: the one line and the one metric update of a finished exchange, and the line of what was refused before it
// was one. Owner: the worker. Thread: its own.
#pragma once

#include "daemon/config/config.h"
#include "daemon/server/session.h"
#include "store/redact.h"

namespace tapdeck::server {

class AccessLog final : public ExchangeObserver {
 public:
  // `redactor` may be null: then queries are left out of the line.
  AccessLog(Metrics& metrics, const config::Log& options, const store::Redactor* redactor)
      : metrics_(metrics), options_(options), redactor_(redactor) {}
  void finished(exchange::Exchange& exchange) override;
  void refused(const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls, const Error& error) override;

 private:
  [[nodiscard]] std::string printable_target(const std::string& target) const;
  Metrics& metrics_;
  const config::Log& options_;
  const store::Redactor* redactor_;
};

}  // namespace tapdeck::server

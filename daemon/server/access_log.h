// AccessLog: the one line and the one metric update of a finished exchange, its entry among the misses if it was one,
// and the line of what was refused before it was an exchange. Owner: the worker. Thread: its own.
#pragma once

#include "daemon/config/config.h"
#include "daemon/server/misses.h"
#include "daemon/server/session.h"
#include "store/redact.h"

namespace tapdeck::server {

class AccessLog final : public ExchangeObserver {
 public:
  // `redactor` may be null: then queries are left out of the line. So may `misses`: nobody asks for them.
  AccessLog(Metrics& metrics, const config::Log& options, const store::Redactor* redactor, Misses* misses)
      : metrics_(metrics), options_(options), redactor_(redactor), misses_(misses) {}
  void finished(exchange::Exchange& exchange) override;
  void refused(const exchange::CapturedFlow& flow, const exchange::TlsFacts& tls, const Error& error) override;

 private:
  void count(exchange::Exchange& exchange, double seconds);
  [[nodiscard]] std::string printable_target(const std::string& target) const;
  Metrics& metrics_;
  const config::Log& options_;
  const store::Redactor* redactor_;
  Misses* misses_;
};

}  // namespace tapdeck::server

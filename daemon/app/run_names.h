// RunNames: names in the namespace of a run: the name server there, what it answers from, whom it lets ask outside, and
// what was asked for in vain.
// Owner: the run's services. Thread: the main one; the server has its own, and asks SessionNames from it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/app/run_namespace.h"
#include "daemon/app/session_names.h"
#include "daemon/config/bypass.h"
#include "daemon/config/config.h"
#include "daemon/names/name_server.h"

namespace tapdeck::app {

// Of a run that replays: may this name lead to an origin? By its routes, those of other targets and of a reverse proxy
// left out, and by what is bypassed. A route without a host may be about any name.
[[nodiscard]] names::Outside outside_of(const config::Config& config, const config::BypassRules& bypass,
                                        std::string_view name);
// The domains that a resolver tries behind a name, by the text of resolv.conf(5), lower case.
[[nodiscard]] std::vector<std::string> search_domains(std::string_view resolv_conf);

class RunNames {
 public:
  // `store` and `config` outlive this.
  RunNames(const store::ExchangeStore& store, std::string session, const config::Config& config, Mode mode)
      : session_(store, std::move(session)), config_(config), bypass_(config.tls.bypass), mode_(mode) {}

  // Where connections went that are on tape. Before start().
  [[nodiscard]] std::vector<Endpoint> destinations() { return session_.destinations(); }
  Result<void> start(NameSockets sockets);
  // Nobody asks any more.
  void stop() { server_.reset(); }
  // After stop(): names whose addresses were asked for and are not on tape, without the host's own.
  [[nodiscard]] const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  SessionNames session_;
  const config::Config& config_;
  const config::BypassRules bypass_;
  const Mode mode_;
  std::vector<std::string> unknown_;           // the server's thread's, until it has ended
  std::unique_ptr<names::NameServer> server_;  // dies first
};

}  // namespace tapdeck::app

// `tapdeck serve`: a Service, the admin server, signals and systemd around it. Thread: the main one, before any other.
#pragma once

#include <filesystem>
#include <functional>

#include "daemon/app/service.h"

namespace tapdeck::app {

struct ServeOptions {
  std::filesystem::path config_file;
  std::filesystem::path state_dir;
};

using ServiceFactory =
    std::function<Result<std::unique_ptr<Service>>(const config::Config&, const Paths&, MetricsRegistry&)>;

// Until SIGTERM or SIGINT; a second one ends the drain. Returns the exit status: 0, or 1 with one line on stderr.
[[nodiscard]] int serve(const ServeOptions& options, const ServiceFactory& factory);

// The log as the configuration wants it; `access` when it does not say; a queue when the process is a daemon.
enum class LogFor { Daemon, Command };
void configure_log(const config::Log& config, LogFor who);

}  // namespace tapdeck::app

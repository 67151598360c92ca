#include "daemon/app/serve.h"

#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "daemon/admin/server.h"
#include "daemon/app/next_step.h"
#include "daemon/app/printable.h"
#include "daemon/app/stop_extension.h"
#include "daemon/app/unit_sandbox.h"
#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

using namespace std::chrono_literals;

// Blocks what ends us, for this thread and all it starts, so that sigtimedwait gets it.
sigset_t block_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return set;
}

// The next signal of the set, 0 after `wait`.
int next_signal(const sigset_t& set, std::chrono::milliseconds wait) {
  const timespec time{.tv_sec = wait.count() / 1000, .tv_nsec = wait.count() % 1000 * 1'000'000};
  const int signal = ::sigtimedwait(&set, nullptr, &time);
  return signal > 0 ? signal : 0;
}

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info{};
  unsigned long device = 0;
  unsigned long inode = 0;
  return stream != nullptr && std::sscanf(stream, "%lu:%lu", &device, &inode) == 2 && ::fstat(2, &info) == 0 &&
         info.st_dev == device && info.st_ino == inode;
}

admin::ServerOptions admin_options(const config::Config& config, const Paths& paths) {
  admin::ServerOptions out;
  if (!config.admin.listen.empty()) out.listen = Endpoint::parse(config.admin.listen);
  out.socket = paths.admin_socket;
  out.token_file = paths.admin_token;
  out.allowed_hosts = config.admin.allowed_hosts;
  out.protect_recordings = config.admin.protect_recordings;
  return out;
}

// systemd's WatchdogSec, halved twice so that one late turn is no restart; zero when there is no watchdog.
std::chrono::milliseconds watchdog_interval() {
  uint64_t micros = 0;
  if (::sd_watchdog_enabled(0, &micros) <= 0) return 0ms;
  return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(micros / 4)), 10ms);
}

int report(const Error& error, const Paths& paths) {
  const std::string hint = in_unit() ? unit_hint(error, paths.state_dir) : "";
  const std::string message = hint.empty() ? with_next_step(error) : error.message() + hint;
  log::error("serve.failed", message);
  // Also where the log is off: a start that fails in silence helps nobody.
  if (!log::enabled(log::Level::Error)) std::fprintf(stderr, "tapdeck: %s\n", printable_lines(message).c_str());
  ::sd_notifyf(0, "STATUS=%s", message.c_str());
  return 1;
}

// Waits for a signal; meanwhile feeds the watchdog, but only while the workers' and the admin loop turn.
void wait_for_end(Service& service, admin::AdminServer& admin, const sigset_t& signals) {
  const auto interval = watchdog_interval();
  const auto admin_turns = std::make_shared<std::atomic<uint64_t>>(0);
  admin.every(interval > 0ms ? interval : 1000ms, [admin_turns] { admin_turns->fetch_add(1); });
  uint64_t seen = 0;
  auto next_status = std::chrono::steady_clock::now();
  while (true) {
    const int signal = next_signal(signals, interval > 0ms ? interval : 1000ms);
    if (signal == SIGTERM || signal == SIGINT) return;
    if (signal == SIGHUP)
      log::warn("serve.reload", "reload is not supported yet; restart to apply a changed configuration");
    const uint64_t turns = admin_turns->load();
    const bool alive = service.all_alive() && (turns != seen || interval == 0ms);
    seen = turns;
    if (alive && interval > 0ms) ::sd_notify(0, "WATCHDOG=1");
    if (std::chrono::steady_clock::now() < next_status) continue;
    next_status = std::chrono::steady_clock::now() + 5s;
    ::sd_notifyf(0, "STATUS=%s", service.status_line().c_str());
  }
}

}  // namespace

void configure_log(const config::Log& config, LogFor who) {
  log::Options options;
  options.level = static_cast<log::Level>(config.level);
  static_assert(static_cast<int>(config::LogLevel::Off) == static_cast<int>(log::Level::Off));
  const bool daemon = who == LogFor::Daemon;
  switch (config.format.value_or(stderr_is_journal() ? config::LogFormat::Journal : config::LogFormat::Pretty)) {
    case config::LogFormat::Json:
      options.format = log::Format::Json;
      break;
    case config::LogFormat::Pretty:
      options.format = log::Format::Pretty;
      break;
    case config::LogFormat::Journal:
      options.format = log::Format::Journal;
      break;
  }
  const bool by_default = daemon && config.level <= config::LogLevel::Info;
  options.access = config.access.value_or(by_default) ? log::AccessLines::On : log::AccessLines::Off;
  options.queue_lines = daemon ? 8192 : 0;
  log::configure(options);
}

int serve(const ServeOptions& options, const ServiceFactory& factory) {
  const sigset_t signals = block_signals();
  auto config = config_for(options.config_file);
  if (!config) {
    const std::string message = config.error().message();
    std::fprintf(stderr, "tapdeck: %s\n", printable_lines(in_unit() ? with_unit_hints(message) : message).c_str());
    return 1;
  }
  configure_log(config->log, LogFor::Daemon);
  for (const std::string& warning : config->warnings) log::warn("config.doubtful", warning);
  const Paths paths = paths_of(*config, options.state_dir);
  MetricsRegistry metrics;
  int status = 0;
  std::optional<StopExtension> stop;  // until the store is closed, too
  if (auto lasts = in_unit() ? check_state_lasts(paths.state_dir) : Result<void>(); !lasts) {
    status = report(lasts.error(), paths);
  } else if (auto service = factory(*config, paths, metrics); !service) {
    status = report(service.error(), paths);
  } else {
    AppControl control((*service)->parts());
    // Before start(): a taken port or socket must not leave anything captured.
    auto admin = admin::AdminServer::start(admin_options(*config, paths), control, metrics);
    auto started = admin ? (*service)->start() : Result<void>(std::unexpected(admin.error()));
    if (!started) {
      status = report(started.error(), paths);
    } else {
      const auto endpoint = (*admin)->endpoint();
      log::info("serve.ready", "serving",
                {{"admin", endpoint ? endpoint->to_string() : "off"},
                 {"socket", paths.admin_socket.string()},
                 {"state_dir", paths.state_dir.string()}});
      ::sd_notify(0, "READY=1");
      wait_for_end(**service, **admin, signals);
      ::sd_notify(0, "STOPPING=1\nSTATUS=draining");
      stop.emplace(config->limits.drain_timeout);
      log::info("serve.stopping", "draining", {{"limit_ms", config->limits.drain_timeout.count()}});
      // A second signal ends at once, by its default action, as people expect of Ctrl-C.
      ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
      (*service)->drain(config->limits.drain_timeout);
    }
    if (admin) admin->reset();
  }
  stop.reset();
  log::info("serve.stopped", "stopped", {{"status", status}});
  log::shutdown();
  return status;
}

}  // namespace tapdeck::app

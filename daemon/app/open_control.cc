#include "daemon/app/open_control.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "daemon/app/client.h"
#include "daemon/app/output.h"
#include "daemon/app/pending_intake.h"
#include "daemon/app/run_command.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

namespace {

// Of the process that answers, as it knows itself; 0 when it does not say.
int pid_of(admin::Control& control) {
  const auto status = control.status();
  if (!status) return 0;
  const auto json = nlohmann::json::parse(*status, nullptr, false);
  const auto pid = json.find("pid");
  return pid != json.end() && pid->is_number_integer() ? pid->get<int>() : 0;
}

// The process that holds the lock of this store; 0: none that is seen. Looks, and takes no lock that could turn an
// owner away.
int lock_holder(const std::filesystem::path& store) {
  struct stat lock{};
  if (::stat((store / "owner.lock").c_str(), &lock) != 0) return 0;
  const std::string inode = ":" + std::to_string(lock.st_ino);
  std::ifstream in("/proc/locks");
  for (std::string line; std::getline(in, line);) {  // 1: FLOCK  ADVISORY  WRITE 42 08:01:1234 0 EOF
    std::istringstream fields(line);
    std::string number, kind, strictness, access, file;
    int holder = 0;
    if (fields >> number >> kind >> strictness >> access >> holder >> file; !fields) continue;
    if (kind == "FLOCK" && file.ends_with(inode)) return holder;
  }
  return 0;
}

// It may be a daemon, and cannot be asked. One that has not written itself down as the owner has only just begun, or
// has a full disk; one of another pid namespace wrote another number.
bool may_be_daemon(int holder, const store::StoreOwner& owner) {
  return holder != 0 && (!owner.admin_socket.empty() || holder != owner.pid);
}

// Recording takes root almost everywhere, and root's state directory is another.
std::string nothing_recorded(const Common& common, const Paths& paths) {
  const std::string nothing = "nothing is recorded in " + paths.state_dir.string();
  if (::geteuid() != 0 && paths.state_dir == default_state_dir())
    return nothing + "; for what `sudo tapdeck run` or the daemon of this host recorded: sudo tapdeck ...";
  Common named = common;
  if (::geteuid() != 0) named.state_dir = paths.state_dir;  // sudo takes no environment along
  return nothing + " yet; record something: " + (::geteuid() == 0 ? "" : "sudo ") + "tapdeck run" + place_flags(named) +
         " -- curl https://example.org";
}

}  // namespace

ControlHandle::ControlHandle() = default;
ControlHandle::ControlHandle(ControlHandle&&) noexcept = default;
ControlHandle& ControlHandle::operator=(ControlHandle&&) noexcept = default;
ControlHandle::~ControlHandle() = default;

Result<ControlHandle> ControlHandle::open(const Common& common, Need need) {
  auto loaded = config_for(common.config_file, config::NamedFiles::Any);
  // A daemon that runs goes by what it read at its start.
  const bool is_wrong = !loaded && loaded.error().code == Code::InvalidConfig && need != Need::ReadDirect;
  if (!loaded && !is_wrong) return std::unexpected(loaded.error());
  ControlHandle out;
  out.config_ = std::make_unique<config::Config>(loaded ? std::move(*loaded) : config::Config{});
  const config::Config& config = *out.config_;
  const Paths paths = paths_of(config, common.state_dir);
  TRY_VOID(check_known(paths));
  out.state_dir_ = paths.state_dir;
  const store::StoreOwner owner = store::ExchangeStore::owner_of(paths.store.string());
  if (!owner.admin_socket.empty() && need != Need::ReadDirect) {
    auto remote = RemoteControl::connect(owner.admin_socket);
    // Who listens there now may be the daemon of another state directory, and the owner long gone.
    if (remote && pid_of(**remote) == owner.pid) {
      out.control_ = std::move(*remote);
      out.is_remote_ = true;
      if (is_wrong) {
        out.warning_ = loaded.error().message() + "; the daemon of " + paths.state_dir.string() +
                       " answers, which goes by what it read at its start";
      }
      return out;
    }
    if (!remote && remote.error().code == Code::Permission) return std::unexpected(remote.error());
    // Anything else: it died and left its file, or somebody took the socket away.
  }
  const int holder = need == Need::ReadDirect ? 0 : lock_holder(paths.store);
  const bool is_unreachable = may_be_daemon(holder, owner);
  if (is_wrong) return std::unexpected(loaded.error());
  if (need == Need::Write) TRY_VOID(make_directories(paths));
  if (need != Need::Write) take_in_pending(paths.store);
  store::StoreOptions options;
  options.path = paths.store.string();
  options.cache_bytes = config.storage.cache_bytes;
  options.max_age = config.storage.max_age;  // for what import says; nothing is pruned without a writer
  auto opened =
      store::ExchangeStore::open(options, need == Need::Write ? store::Access::ReadWrite : store::Access::ReadOnly);
  const bool is_empty = !opened && opened.error().code == Code::NotFound;
  if (is_empty && need != Need::Daemon) {
    return fail(Code::NotFound, nothing_recorded(common, paths));
  }
  if (!opened && opened.error().code == Code::Busy && opened.error().origin == Origin::Store)
    opened.error().detail += is_unreachable ? "; it does not answer: start it again" : "; try again when it has ended";
  if (!opened && !is_empty) return std::unexpected(opened.error());
  if (opened) out.store_ = std::move(*opened);
  out.control_ = std::make_unique<AppControl>(AppControl::Parts{.store = out.store_.get(),
                                                                .targets = nullptr,
                                                                .runtime = nullptr,
                                                                .metrics = nullptr,
                                                                .state_dir = paths.state_dir,
                                                                .targets_file = paths.targets,
                                                                .config = out.config_.get(),
                                                                .mode_file = paths.mode,
                                                                .run_dir = paths.run_dir,
                                                                .unreachable_pid = is_unreachable ? holder : 0,
                                                                .unreachable_socket = owner.admin_socket});
  return out;
}

}  // namespace tapdeck::app

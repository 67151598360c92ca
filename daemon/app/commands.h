// The subcommands that list and change: sessions, recordings, targets, mode, CA, configuration, doctor, status.
//
// Each takes what the command line said and returns an exit status (0, 1). They ask the daemon that owns the state
// directory, or open its store themselves when nobody does. Thread: the main one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>

#include "daemon/admin/control.h"

namespace tapdeck::app {

// Where text goes. `terminal`: a person reads `out`, so that columns are aligned; else tabs.
enum class Terminal { No, Yes };
struct Streams {
  std::ostream& out;
  std::ostream& err;
  Terminal terminal = Terminal::No;
};

enum class Format { Text, Json };

// What every subcommand takes.
struct Common {
  std::filesystem::path config_file;
  std::filesystem::path state_dir;
  Format format = Format::Text;
};

struct SessionArgs {
  std::string name;
  std::string target;
  std::filesystem::path file;
  bool yes = false;
  bool force = false;
  bool of_daemon = false;  // `activate --default`: the target has no session of its own any more
  admin::Page page;        // of `names`
};
struct RecordingArgs {
  std::string id;
  admin::RecordingFilter filter;
  admin::Page page;
  enum class Show { Everything, ResponseBody, RequestBody } show = Show::Everything;
};

int session_list(const Common& common, Streams streams);
int session_show(const Common& common, const SessionArgs& args, Streams streams);
// Without a name: of the active one. commands_names.cc
int session_names(const Common& common, const SessionArgs& args, Streams streams);
int session_create(const Common& common, const SessionArgs& args, Streams streams);
int session_activate(const Common& common, const SessionArgs& args, Streams streams);
int session_rewind(const Common& common, const SessionArgs& args, Streams streams);
int session_delete(const Common& common, const SessionArgs& args, Streams streams);
int session_export(const Common& common, const SessionArgs& args, Streams streams);
int session_import(const Common& common, const SessionArgs& args, Streams streams);

int recording_list(const Common& common, const RecordingArgs& args, Streams streams);
int recording_show(const Common& common, const RecordingArgs& args, Streams streams);
int recording_delete(const Common& common, const RecordingArgs& args, Streams streams);

int mode_show(const Common& common, Streams streams);
int mode_set(const Common& common, Mode mode, const std::string& target, Streams streams);
// The target goes by the daemon's mode, or session, again.
int target_follow(const Common& common, admin::Own what, const std::string& target, Streams streams);

int targets_list(const Common& common, Streams streams);
int target_attach(const Common& common, const admin::AttachRequest& request, Streams streams);
int target_detach(const Common& common, const std::string& target, Streams streams);

int status_show(const Common& common, Streams streams);

int ca_init(const Common& common, Streams streams);
int ca_show(const Common& common, Streams streams);
int ca_export(const Common& common, const std::filesystem::path& file, Streams streams);
enum class HostTrustChange { Install, Remove };
// Into (or out of) the trust store of this host; makes the CA when there is none yet.
int ca_install(const Common& common, HostTrustChange change, Streams streams);

int config_check(const Common& common, Streams streams);
int config_show(const Common& common, Streams streams);

// Removes kernel attachments that a dead daemon left under the run directory. ExecStopPost of the service.
int clean_leftovers(const Common& common, Streams streams);
// What this host can do and what is missing; status 0 when at least one capture path works: the last line says which.
int doctor(const Common& common, Streams streams);

}  // namespace tapdeck::app

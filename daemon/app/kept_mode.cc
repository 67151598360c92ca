#include "daemon/app/kept_mode.h"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/base/log.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {
namespace {

std::optional<Mode> mode_in(const nlohmann::json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_string()) return std::nullopt;
  return parse_mode(it->get<std::string>());
}

// By a file that was read, or does not decode.
Mode mode_by(const Result<std::optional<KeptMode>>& kept, Mode configured) {
  if (!kept) return Mode::Replay;
  return *kept && (*kept)->configured == configured ? (*kept)->mode : configured;
}

// A full or read-only disk refuses no start: the mode is known, and the next start finds the same file.
void rewrite(const std::filesystem::path& file, const KeptMode& kept) {
  const auto saved = save_mode(file, kept);
  if (saved) return;
  log::warn("mode.unsaved", "the mode in force could not be written down; the next start decides anew",
            {{"mode", to_string(kept.mode)}, {"error", saved.error().message()}});
}

}  // namespace

Result<std::optional<KeptMode>> load_mode(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) {
    if (errno == ENOENT) return std::optional<KeptMode>{};
    return fail_errno(errno, "open " + file.string());
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(Code::Corrupt, file.string() + ": not a JSON object");
  const auto mode = mode_in(json, "mode");
  const auto configured = mode_in(json, "configured");
  if (!mode || !configured) return fail(Code::Corrupt, file.string() + ": no mode, or one that is unknown");
  return KeptMode{.mode = *mode, .configured = *configured};
}

Result<void> save_mode(const std::filesystem::path& file, const KeptMode& kept) {
  const nlohmann::json json = {{"mode", to_string(kept.mode)}, {"configured", to_string(kept.configured)}};
  return replace_file(file, json.dump() + "\n", 0600, Sync::Name);
}

Result<Mode> mode_of_next_start(const std::filesystem::path& file, Mode configured) {
  const auto kept = load_mode(file);
  if (!kept && kept.error().code != Code::Corrupt) return std::unexpected(kept.error());
  return mode_by(kept, configured);
}

Result<Mode> mode_at_start(const std::filesystem::path& file, Mode configured) {
  const auto kept = load_mode(file);
  if (!kept && kept.error().code != Code::Corrupt) return std::unexpected(kept.error());
  const Mode mode = mode_by(kept, configured);
  if (!kept) {
    rewrite(file, {.mode = mode, .configured = configured});
    log::warn(
        "mode.lost",
        "the mode that was set does not decode: replay is in force, so that nothing is recorded over; choose one: "
        "tapdeck mode set MODE",
        {{"problem", kept.error().detail}, {"configured", to_string(configured)}});
    return mode;
  }
  if (!*kept) return mode;
  if ((*kept)->configured != configured) {
    // Written, not only passed over: else it would come back with the next change of the file.
    rewrite(file, {.mode = mode, .configured = configured});
    log::warn("mode.configured",
              "the configured mode was changed since another was set: the configured one is in force",
              {{"mode", to_string(mode)}, {"was_set", to_string((*kept)->mode)}});
  } else if (mode != configured) {
    log::warn("mode.kept", "the mode that was set is in force, not the configured one",
              {{"mode", to_string(mode)}, {"configured", to_string(configured)}});
  }
  return mode;
}

}  // namespace tapdeck::app

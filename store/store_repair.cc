#include "store/store_repair.h"

#include <rocksdb/db.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "daemon/base/whole_file.h"

namespace tapdeck::store {

namespace fs = std::filesystem;

bool lost_its_head(const std::string& db_path) {
  std::error_code error;
  if (fs::exists(db_path + "/CURRENT", error)) return false;
  for (const auto& entry : fs::directory_iterator(db_path, error)) {
    const auto extension = entry.path().extension();
    if (extension == ".sst" || extension == ".log" || extension == ".blob") return true;
  }
  return false;
}

bool point_current_at_newest_manifest(const std::string& db_path) {
  std::error_code error;
  std::string newest;
  for (const auto& entry : fs::directory_iterator(db_path, error)) {
    const std::string name = entry.path().filename();
    // Numbers have six digits with leading zeros: longer is newer, else the order of the text is the order of numbers.
    if (!name.starts_with("MANIFEST-")) continue;
    if (name.size() > newest.size() || (name.size() == newest.size() && name > newest)) newest = name;
  }
  if (newest.empty()) return false;
  // As a whole: on a full disk an empty CURRENT would be worse than none.
  return replace_file(db_path + "/CURRENT", newest + "\n", 0600, Sync::No).has_value();
}

std::string keep_aside(const std::string& db_path) {
  const std::string aside = db_path + ".damaged";
  std::error_code error;
  if (fs::exists(aside, error)) return aside;  // of the first damage, which had the most
  if (!fs::create_directory(aside, error)) return {};
  fs::permissions(aside, fs::perms::owner_all, error);
  for (const auto& entry : fs::directory_iterator(db_path, error)) {
    if (!entry.is_regular_file(error)) continue;
    fs::create_hard_link(entry.path(), fs::path(aside) / entry.path().filename(), error);
    if (!error) continue;
    fs::remove_all(aside, error);  // half a copy would pass for a whole one
    return {};
  }
  return aside;
}

uint64_t space_missing_for_repair(const std::string& db_path) {
  constexpr uint64_t kReserve = 16 << 20;
  uint64_t needed = kReserve;  // the log is written again, as tables
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(db_path, error)) {
    if (entry.path().extension() == ".log") needed += entry.file_size(error);
  }
  const fs::space_info space = fs::space(db_path, error);
  return error || space.available >= needed ? 0 : needed - space.available;
}

namespace {

// "... L0 file #46 with seqno 16 7681 vs. file #35 with seqno 16 7681": a table that was just made of the log, and one
// that was made of it before, since the log was kept longer than it was needed. The older is set aside: where it only
// refers to blob files, which a repair does not find, the newer has the bytes. False: it says something else.
bool set_double_aside(const std::string& db_path, const std::string& complaint) {
  uint64_t made = 0, before = 0, from[2] = {}, to[2] = {};
  const size_t at = complaint.find("L0 file #");
  if (at == std::string::npos) return false;
  const int fields = std::sscanf(complaint.c_str() + at,
                                 "L0 file #%" SCNu64 " with seqno %" SCNu64 " %" SCNu64 " vs. file #%" SCNu64
                                 " with seqno %" SCNu64 " %" SCNu64,
                                 &made, &from[0], &to[0], &before, &from[1], &to[1]);
  const bool is_double = fields == 6 && from[0] == from[1] && to[0] == to[1];
  if (!is_double) {  // of a single row: "... with seqno 51 51 vs. file #11 with global_seqno 51"
    const int words = std::sscanf(complaint.c_str() + at,
                                  "L0 file #%" SCNu64 " with seqno %" SCNu64 " %" SCNu64 " vs. file #%" SCNu64
                                  " with global_seqno %" SCNu64,
                                  &made, &from[0], &to[0], &before, &from[1]);
    if (words != 5 || from[0] != to[0] || from[0] != from[1]) return false;
  }
  char name[32];
  std::snprintf(name, sizeof name, "%06" PRIu64 ".sst", std::min(made, before));
  std::error_code error;
  fs::create_directory(db_path + "/lost", error);
  fs::rename(db_path + "/" + name, db_path + "/lost/" + name, error);
  return !error;
}

}  // namespace

bool repair(const std::string& db_path) {
  constexpr int kTries = 200;  // a column family each time, and there may be several logs
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const auto status = rocksdb::RepairDB(db_path, database_only_options(), describe_families({}, 8 << 20));
    if (status.ok()) return true;
    if (!status.IsCorruption() || !set_double_aside(db_path, status.ToString())) return false;
  }
  return false;
}

}  // namespace tapdeck::store

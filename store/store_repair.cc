#include "store/store_repair.h"

#include <rocksdb/db.h>

#include <filesystem>
#include <fstream>

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
  const std::string temporary = db_path + "/CURRENT.new";
  std::ofstream(temporary, std::ios::trunc) << newest << "\n";
  fs::rename(temporary, db_path + "/CURRENT", error);
  return !error;
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

bool repair(const std::string& db_path) {
  return rocksdb::RepairDB(db_path, database_only_options(), describe_families({}, 8 << 20)).ok();
}

}  // namespace tapdeck::store

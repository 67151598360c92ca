// Getting a damaged RocksDB directory open again. Internal to store/.
#pragma once

#include <rocksdb/db.h>

#include <string>
#include <vector>

#include "store/buffers.h"

namespace tapdeck::store {

// The column families of the store, plus `extra` that the directory has.
[[nodiscard]] std::vector<rocksdb::ColumnFamilyDescriptor> describe_families(const std::vector<std::string>& extra,
                                                                             uint64_t cache_bytes,
                                                                             const Buffers& buffers = {});
[[nodiscard]] rocksdb::DBOptions database_only_options(const Buffers& buffers = {});

// There are data files but no CURRENT: RocksDB would take the directory for an empty one and start anew in it.
[[nodiscard]] bool lost_its_head(const std::string& db_path);
// CURRENT is one line naming a MANIFEST. Writes it anew; false when there is no MANIFEST. Loses nothing.
[[nodiscard]] bool point_current_at_newest_manifest(const std::string& db_path);
// Links the files of the directory into one beside it (".damaged"), unless there is one: what opens a damaged database
// again deletes what it does not understand. Its path; empty when that failed.
[[nodiscard]] std::string keep_aside(const std::string& db_path);
// How many bytes a repair would need more than the disk has; a repair that runs out of space loses what it had not yet
// written. 0: enough, or not known.
[[nodiscard]] uint64_t space_missing_for_repair(const std::string& db_path);
// Rebuilds the MANIFEST from tables and log. Bodies in blob files (segments of 4 KiB and more already flushed) are not
// found again by it: their recordings stay, and reading those bodies says Corrupt.
[[nodiscard]] bool repair(const std::string& db_path);

}  // namespace tapdeck::store

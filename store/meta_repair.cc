// A damaged meta table: it is begun anew beside recordings that can all be read. RocksDB's own repair would lose the
// bodies in blob files.
#include <set>

#include "daemon/base/log.h"
#include "store/record_codec.h"
#include "store/store_impl.h"
#include "store/store_repair.h"

namespace tapdeck::store {

std::unexpected<Error> ExchangeStore::Impl::beyond_repair(const std::string& damage, const std::string& kept) const {
  return fail(Code::Corrupt,
              "store " + options.path + " is damaged and could not be repaired (" + damage +
                  "); restore it from a backup, or move the directory away" +
                  (kept.empty() ? "" : "; as it was found it is in " + kept),
              Origin::Store);
}

Result<void> ExchangeStore::Impl::mend_meta() {
  auto rows = iterate(Family::Meta, Cached::No);
  rows->SeekToFirst();
  while (rows->Valid()) rows->Next();
  const rocksdb::Status damage = rows->status();
  rows.reset();
  if (!damage.IsCorruption()) return {};  // other failures are the next reader's
  if (access == Access::ReadOnly || recovers || degraded) {
    return fail(Code::Corrupt,
                "store " + options.path + " is damaged (" + damage.ToString() +
                    "); a recording run or the daemon repairs what can be repaired",
                Origin::Store);
  }
  const std::string kept = keep_aside(db_path);
  rocksdb::Status status = db->DropColumnFamily(cf(Family::Meta));
  if (status.ok()) status = try_open(access);
  if (!status.ok()) return beyond_repair(damage.ToString() + "; " + status.ToString(), kept);
  log::warn("store.repaired",
            "the table of the store's settings was damaged and is begun anew: all recordings are there, but which "
            "session was active is forgotten",
            {{"store", options.path}, {"damage", damage.ToString()}, {"kept", kept}});
  return {};
}

bool ExchangeStore::Impl::has_sessions() const {
  auto rows = iterate(Family::Sessions);
  rows->SeekToFirst();
  return rows->Valid() && rows->key() != slice(kAnchor);
}

// "last_id" is not known either; then the recordings that are there say which ids were given.
Result<void> ExchangeStore::Impl::begin_meta() {
  const std::string fingerprint(view(derive("fingerprint", {})));
  rocksdb::WriteBatch batch;
  batch.Put(cf(Family::Meta), "schema", std::to_string(kSchemaVersion)).PermitUncheckedError();
  batch.Put(cf(Family::Meta), "fingerprint", fingerprint).PermitUncheckedError();
  for (auto* handle : families) batch.Put(handle, slice(kAnchor), {}).PermitUncheckedError();
  if (has_sessions()) {
    TRY(bodies, count_bodies());
    std::string value;
    ByteWriter(value).u64(bodies);
    batch.Put(cf(Family::Meta), "blob_bytes", value).PermitUncheckedError();
  }
  TRY_VOID(commit(batch, Durability::Wal));
  const rocksdb::Status status =
      db->Flush(rocksdb::FlushOptions(), std::vector<rocksdb::ColumnFamilyHandle*>(families.begin(), families.end()));
  return status.ok() ? Result<void>{} : fail_status(status, "create store " + options.path);
}

Result<uint64_t> ExchangeStore::Impl::count_bodies() const {
  uint64_t bytes = 0;
  std::set<Digest> counted;
  auto rows = iterate(Family::Recordings, Cached::No);
  for (rows->SeekToFirst(); rows->Valid() && rows->key() != slice(kAnchor); rows->Next()) {
    const auto recording = decode_record(rows->value().ToStringView());
    if (!recording) continue;
    for (const BodyRef* body : {&recording->request_body, &recording->response_body}) {
      for (const Segment& segment : body->segments) {
        if (counted.insert(segment.digest).second) bytes += segment.size;
      }
    }
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read recordings of " + options.path);
  return bytes;
}

}  // namespace tapdeck::store

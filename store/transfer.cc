// Sessions in and out: export and import of one file.
#include <set>

#include "daemon/base/clock.h"
#include "store/export_file.h"
#include "store/import_fill.h"
#include "store/record_codec.h"
#include "store/store_impl.h"
#include "store/transfer.h"

namespace tapdeck::store {
PendingWrite finish_of(const Recording& recording, uint32_t session, uint64_t id) {
  PendingWrite write;
  write.session_number = session;
  write.take = recording.take;
  write.id = id;
  write.started_unix_us = recording.started_unix_us;
  write.key = recording.key;
  write.rank = replay_rank_of(recording);
  write.body_bytes = recording.request_body.size + recording.response_body.size;
  for (const auto* body : {&recording.request_body, &recording.response_body}) {
    for (const auto& segment : body->segments) write.references.push_back(segment.digest);
  }
  return write;
}

namespace {

// Of one recording: a frame has 64 MiB at most, and a digest 32 bytes.
constexpr size_t kMostSegments = (64 << 20) / 32;

struct ExportHeader {
  std::string name;
  uint64_t takes = 0;
  int64_t created_unix_us = 0;
  Secret secret{};
};

std::string encode_header(const ExportHeader& header) {
  std::string out;
  ByteWriter writer(out);
  writer.string(header.name);
  writer.varint(header.takes);
  writer.u64(static_cast<uint64_t>(header.created_unix_us));
  writer.bytes(header.secret);
  return out;
}

Result<ExportHeader> decode_header(const ExportReader::Item& item, const std::string& file) {
  ByteReader reader(item.payload);
  ExportHeader header;
  header.name = reader.string();
  header.takes = reader.varint();
  header.created_unix_us = static_cast<int64_t>(reader.u64());
  header.secret = reader.bytes<32>();
  if (item.type != Frame::Session || !reader.ok() || reader.left() != 0)
    return fail(Code::Corrupt, file + " does not begin with a session", Origin::Store);
  return header;
}

// Reads a whole export and hands its parts on. The first of the two passes of an import has no hands and only checks.
class Import {
 public:
  explicit Import(std::string file) : file_(std::move(file)) {}

  template <class OnBlob, class OnRecording, class OnOrigin>
  Result<ExportHeader> run(OnBlob on_blob, OnRecording on_recording, OnOrigin on_origin) {
    TRY(reader, ExportReader::open(file_));
    TRY(first, reader.next());
    TRY(header, decode_header(first, file_));
    std::set<Digest> blobs;
    std::set<Digest> unused;  // those since the last recording: the next one has to use them
    uint64_t recordings = 0;
    while (true) {
      TRY(item, reader.next());
      switch (item.type) {
        case Frame::Blob: {
          if (item.payload.size() < 32) return damaged("a body");
          PendingWrite::Blob blob;
          blob.segment.digest = ByteReader(item.payload).bytes<32>();
          item.payload.erase(0, 32);
          blob.bytes = std::make_shared<const std::string>(std::move(item.payload));
          blob.segment.size = blob.bytes->size();
          if (content_digest(*blob.bytes) != blob.segment.digest) return damaged("a body");
          blobs.insert(blob.segment.digest);
          unused.insert(blob.segment.digest);
          if (unused.size() > kMostSegments) return damaged("more bodies than a recording can have");
          TRY_VOID(on_blob(std::move(blob)));
          break;
        }
        case Frame::Recording: {
          TRY(recording, decode_record(item.payload));
          auto write = finish_of(recording, 0, 0);
          for (const auto& digest : write.references) {
            if (!blobs.contains(digest)) return damaged("a recording without its body");
            unused.erase(digest);
          }
          if (!unused.empty()) return damaged("a body of no recording");
          write.encoded = std::move(item.payload);
          ++recordings;
          TRY_VOID(on_recording(std::move(write), ended_unix_us(recording)));
          break;
        }
        case Frame::Origin:
          TRY_VOID(on_origin(item.payload));
          break;
        case Frame::End: {
          if (!unused.empty()) return damaged("a body of no recording");
          if (ByteReader(item.payload).varint() != recordings) return damaged("the number of recordings");
          return header;
        }
        default:
          return damaged("a frame of unknown type");
      }
    }
  }

 private:
  [[nodiscard]] std::unexpected<Error> damaged(const std::string& what) const {
    return fail(Code::Corrupt, file_ + " is damaged: " + what, Origin::Store);
  }
  std::string file_;
};

Result<void> accept_blob(PendingWrite::Blob&& /*blob*/) {
  return {};
}
Result<void> accept_recording(PendingWrite&& /*write*/, int64_t /*ended_unix_us*/) {
  return {};
}
Result<void> accept_origin(std::string_view /*payload*/) {
  return {};
}

// `make` gives the writer once it is sure that there is something to write.
template <class Make>
Result<SessionInfo> write_export(const ExchangeStore::Impl& store, std::string_view name, Make make) {
  TRY(secret, store.self.key_secret(name));
  const auto guard = store.use();
  TRY_VOID(store.need_open());
  // One moment for rows and bodies, whatever retention removes meanwhile; others delete nothing where it is only read.
  const bool deletes = store.access == Access::ReadWrite && !store.degraded;
  rocksdb::ManagedSnapshot moment(store.db.get(), deletes ? store.db->GetSnapshot() : nullptr);
  TRY(found, store.find_session(name));  // after it: a session is out of this table before its rows go
  TRY(writer, make());
  TRY_VOID(writer.frame(Frame::Session,
                        encode_header({found.second.name, found.second.takes, found.second.created_unix_us, secret})));
  const std::string prefix = session_prefix(found.first);
  auto origins = store.iterate(Family::Origins, Cached::No, moment.snapshot());
  for (origins->Seek(prefix); origins->Valid() && origins->key().starts_with(prefix); origins->Next()) {
    std::string payload;
    ByteWriter(payload).string(origins->key().ToStringView().substr(4));
    payload += origins->value().ToStringView();
    TRY_VOID(writer.frame(Frame::Origin, payload));
  }
  std::set<Digest> written;
  uint64_t recordings = 0;
  auto rows = store.iterate(Family::Recordings, Cached::No, moment.snapshot());
  for (rows->Seek(prefix); rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    TRY(recording, decode_record(rows->value().ToStringView()));
    for (const auto& digest : finish_of(recording, 0, 0).references) {
      if (!written.insert(digest).second) continue;
      TRY(bytes, store.read(Family::Blobs, view(digest), moment.snapshot()));
      if (!bytes) {
        return fail(Code::Corrupt,
                    "recording " + std::to_string(id_of_row(rows->key().ToStringView())) + " has lost its body",
                    Origin::Store);
      }
      TRY_VOID(writer.frame(Frame::Blob, std::string(view(digest)) + *bytes));
    }
    TRY_VOID(writer.frame(Frame::Recording, rows->value().ToStringView()));
    ++recordings;
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "export a session");
  std::string end;
  ByteWriter(end).varint(recordings);
  TRY_VOID(writer.frame(Frame::End, end));
  TRY_VOID(writer.finish());
  const std::lock_guard table(store.table_mutex);
  return store.info(found.first, found.second);
}

}  // namespace

Result<SessionInfo> ExchangeStore::export_session(std::string_view name, const std::string& file) const {
  return write_export(*impl_, name, [&] { return ExportWriter::create(file); });
}

Result<SessionInfo> export_session_to(const ExchangeStore& store, std::string_view name, UniqueFd file) {
  return write_export(ExchangeStore::Impl::of(store), name, [&] { return ExportWriter::into(std::move(file)); });
}

namespace {

// A session that was filled out of sight takes its name.
Result<void> show(ExchangeStore::Impl& store, uint32_t number, const ExportHeader& header) {
  const std::lock_guard guard(store.write_mutex);
  SessionRow row;
  {
    const std::lock_guard table(store.table_mutex);
    row = store.sessions.at(number);
    // Somebody records into one by now: under two secrets, one half could never be replayed.
    if (store.number_of(row.name)) {
      return fail(Code::AlreadyExists, "session '" + row.name + "' was made meanwhile; import under another name",
                  Origin::Store);
    }
  }
  row.hidden = false;
  row.takes = header.takes;
  row.created_unix_us = header.created_unix_us;
  return store.put_session(number, row);
}

}  // namespace

Result<ImportResult> ExchangeStore::import_session(const std::string& file, std::string_view as) {
  TRY_VOID(impl_->need_writable());
  Import import(file);
  TRY(header, import.run(accept_blob, accept_recording, accept_origin));
  if (as.empty() && !is_valid_session_name(header.name)) {
    return fail(Code::Corrupt, file + " has a session name that no session can have; import it under another name",
                Origin::Store);
  }
  const std::string name(as.empty() ? std::string_view(header.name) : as);
  if (impl_->find_session(name)) {
    return fail(Code::AlreadyExists, "session '" + name + "' exists; import under another name, or delete it first",
                Origin::Store);
  }
  const int64_t oldest_kept = unix_now_us() - impl_->options.max_age.count() * 1'000'000;
  // Filled out of sight and shown by one write at the end: a crash on the way leaves nothing but a hidden session,
  // which the next open removes.
  uint32_t number = 0;
  {
    const std::lock_guard guard(impl_->write_mutex);
    TRY(created, impl_->create_locked(name, Visibility::Hidden, header.secret));
    number = created;
  }
  ImportResult result{.session = name};
  ImportFill fill(*this, number);
  const auto filled =
      import.run([&](PendingWrite::Blob&& blob) { return fill.add(std::move(blob)); },
                 [&](PendingWrite&& write, int64_t ended) {
                   ++result.recordings;
                   if (impl_->options.max_age.count() > 0 && ended < oldest_kept) ++result.too_old;
                   result.bytes += write.encoded.size() + write.body_bytes;
                   return fill.add(std::move(write));
                 },
                 [&](std::string_view payload) -> Result<void> {
                   ByteReader reader(payload);
                   const std::string_view place = reader.string();
                   const std::string_view facts = reader.rest();
                   if (!reader.ok()) return fail(Code::Corrupt, file + " is damaged: an origin", Origin::Store);
                   TRY(checked, decode_origin(facts));
                   ignore(checked, "stored as it is");
                   const std::lock_guard guard(impl_->write_mutex);
                   TRY_VOID(impl_->go_on_if_closed());
                   rocksdb::WriteBatch origin;
                   origin.Put(impl_->cf(Family::Origins), session_prefix(number) + std::string(place), slice(facts))
                       .PermitUncheckedError();
                   return impl_->commit(origin, Durability::Wal);
                 });
  Result<void> done = filled ? Result<void>{} : std::unexpected(filled.error());
  if (done) done = fill.flush();
  if (done) done = show(*impl_, number, header);
  if (!done) {
    fill.give_up();
    ignore(impl_->erase_session_rows(number), "the next open removes hidden sessions too");
    return std::unexpected(done.error());
  }
  impl_->bump();
  return result;
}

}  // namespace tapdeck::store

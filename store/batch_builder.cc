#include "store/batch_builder.h"

#include <algorithm>
#include <utility>

namespace tapdeck::store {
namespace {

// Known origins kept in memory, so that their row is written when it changes and not for every exchange.
constexpr size_t kKnownOrigins = 10000;

}  // namespace

SessionRow* BatchBuilder::row(uint32_t number) {
  auto [place, is_new] = rows_.try_emplace(number);
  if (is_new) {
    const std::lock_guard table(impl_.table_mutex);
    if (const auto known = impl_.sessions.find(number); known != impl_.sessions.end()) place->second = known->second;
  }
  return place->second ? &*place->second : nullptr;
}

KeyFilter* BatchBuilder::filter(uint32_t number) {
  if (filter_session_ != number) {
    filter_session_ = number;
    filter_ = impl_.filter_of(number);
  }
  return filter_.get();
}

bool BatchBuilder::is_stored(const Digest& digest) {
  if (impl_.recent.contains(digest)) return true;
  std::string value;
  bool found = false;
  if (!impl_.db->KeyMayExist(rocksdb::ReadOptions(), impl_.cf(Family::Blobs), slice(view(digest)), &value, &found))
    return false;
  if (found) return true;
  rocksdb::PinnableSlice pinned;
  return impl_.db->Get(rocksdb::ReadOptions(), impl_.cf(Family::Blobs), slice(view(digest)), &pinned).ok();
}

void BatchBuilder::put_blob(const PendingWrite::Blob& blob) {
  if (!is_stored(blob.segment.digest)) {
    put(Family::Blobs, view(blob.segment.digest), *blob.bytes);
    new_blob_bytes_ += blob.bytes->size();
  }
  impl_.recent.add(blob.segment.digest);
}

bool BatchBuilder::is_known_origin(const PendingWrite& write, const std::string& session) const {
  const auto here = impl_.read(Family::Origins, origin_row(write.session_number, write.port, write.host));
  if (here && *here) return true;
  if (impl_.older == nullptr) return false;
  const auto there = impl_.older->origin_facts(session, write.host, write.port);
  return there && *there;
}

void BatchBuilder::put_origin(const PendingWrite& write) {
  if (write.origin == OriginFacts{} && !write.alpn) return;
  if (impl_.last_origin.is(write)) return;
  impl_.last_origin.set(write);
  const std::string row = origin_row(write.session_number, write.port, write.host);
  if (write.origin != OriginFacts{}) put_facts(row, write.origin);
  if (!write.alpn) return;
  const std::string beside = alpn_row(row, write.alpn->offered);
  if (!write.alpn->is_learned) {
    const auto learned = impl_.read(Family::Origins, beside);
    if (learned && *learned) return;
  }
  OriginFacts seen = write.origin;
  seen.alpn = write.alpn->agreed;
  put_facts(beside, seen);
}

// Not among the known origins in memory: there may be many notes, and large ones.
void BatchBuilder::put_note(const PendingWrite& write) {
  const std::string origin = origin_row(write.session_number, write.port, write.host);
  put(Family::Origins, alpn_row(origin, write.alpn->offered), write.encoded);
}

void BatchBuilder::put_facts(const std::string& row, const OriginFacts& facts) {
  const auto known = impl_.origins.find(row);
  if (known != impl_.origins.end() && known->second == facts) return;
  if (impl_.origins.size() >= kKnownOrigins) impl_.forget_origins();
  impl_.origins.insert_or_assign(row, facts);
  std::string value;
  encode_origin(facts, value);
  put(Family::Origins, row, value);
}

void BatchBuilder::forget_begun(uint64_t id) {
  batch_.DeleteRange(impl_.cf(Family::Partial), partial_row(id), partial_row(id + 1)).PermitUncheckedError();
}

// Its session was deleted meanwhile, or it is given up: what a Begin left goes too. Its blobs go once this batch is
// written, which may hold them.
void BatchBuilder::drop(const PendingWrite& write) {
  if (!write.was_begun) return;
  forget_begun(write.id);
  if (!write.references.empty()) dropped_.push_back(&write);
}

void BatchBuilder::release_dropped() {
  for (const PendingWrite* write : dropped_) {
    ExchangeStore::Impl::Removal removal;
    removal.ids.insert(write->id);
    for (const auto& digest : write->references) impl_.release_blob(removal, digest, write->id);
    ignore(impl_.commit_removal(removal), "at worst a blob stays that nobody needs; the write itself decides");
  }
}

void BatchBuilder::add(PendingWrite& write) {
  SessionRow* session = row(write.session_number);
  write.dropped = session == nullptr && write.step == PendingWrite::Step::Finish;
  if (session == nullptr) return drop(write);
  for (const auto& blob : write.blobs) put_blob(blob);
  switch (write.step) {
    case PendingWrite::Step::Begin:
      return put_begin(write);
    case PendingWrite::Step::Segment:
      return put_segment(write);
    case PendingWrite::Step::Journal:
      return put_journal(write);
    case PendingWrite::Step::Abandon:
      return give_up(write);
    case PendingWrite::Step::Origin:
      if (write.alpn->is_learned || !is_known_origin(write, session->name)) put_origin(write);
      return;
    case PendingWrite::Step::Note:
      return put_note(write);
    case PendingWrite::Step::Finish:
      return put_recording(write, *session);
  }
}

void BatchBuilder::put_begin(const PendingWrite& write) {
  std::string value;
  ByteWriter(value).u32(write.session_number);
  value += write.encoded;
  put(Family::Partial, partial_row(write.id), value);
}

void BatchBuilder::put_segment(const PendingWrite& write) {
  std::string value;
  for (const auto& blob : write.blobs) {
    put(Family::BlobRefs, reference_row(blob.segment.digest, write.id), {});
    value.clear();
    ByteWriter writer(value);
    writer.byte(write.request_side ? 1 : 0);
    writer.bytes(blob.segment.digest);
    writer.varint(blob.segment.size);
    put(Family::Partial, partial_part(write.id, write.part), value);
  }
}

void BatchBuilder::put_journal(const PendingWrite& write) {
  std::string value;
  ByteWriter(value).byte(kJournalPart);
  value += write.encoded;
  put(Family::Partial, partial_part(write.id, write.part), value);
}

void BatchBuilder::give_up(const PendingWrite& write) {
  for (const auto& digest : write.references) {
    batch_.Delete(impl_.cf(Family::BlobRefs), slice(reference_row(digest, write.id))).PermitUncheckedError();
  }
  drop(write);
}

void BatchBuilder::put_recording(const PendingWrite& write, SessionRow& session) {
  for (const auto& digest : write.references) {
    make_reference_row(key_, digest, write.id);
    put(Family::BlobRefs, key_, {});
  }
  make_recording_key(key_, write.session_number, write.id);
  put(Family::Recordings, key_, write.encoded);
  // Before the row can be seen: what is in the store is in the filter, never the other way round.
  if (KeyFilter* known = filter(write.session_number)) known->add(write.key);
  make_match_row(key_, write.session_number, write.key, write.take, write.id);
  const char rank = static_cast<char>(write.rank);
  put(Family::Match, key_, {&rank, 1});
  put_origin(write);
  if (write.was_begun) forget_begun(write.id);
  ++session.recordings;
  session.bytes += write.encoded.size() + write.body_bytes;
  session.record_bytes += write.encoded.size();
  session.last_recorded_unix_us = std::max(session.last_recorded_unix_us, write.started_unix_us);
  session.first_id = std::min(session.first_id, write.id);
}

void BatchBuilder::finish() {
  std::string value;
  for (const auto& [number, row] : rows_) {
    if (!row) continue;
    value.clear();
    encode_session(*row, value);
    put(Family::Sessions, session_prefix(number), value);
  }
  if (new_blob_bytes_ == 0) return;
  value.clear();
  ByteWriter(value).u64(impl_.blob_bytes + new_blob_bytes_);
  put(Family::Meta, "blob_bytes", value);
}

void BatchBuilder::publish() {
  impl_.blob_bytes += new_blob_bytes_;
  const std::lock_guard table(impl_.table_mutex);
  for (auto& [number, row] : rows_) {
    if (row) impl_.sessions[number] = std::move(*row);
  }
}

}  // namespace tapdeck::store

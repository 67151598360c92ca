// Listing, searching and deleting recordings.
#include <algorithm>
#include <charconv>

#include "daemon/base/ascii.h"
#include "daemon/base/clock.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

// Rows looked at for one page, so that a filter which passes nothing cannot hold a caller for a whole large store.
constexpr size_t kRowsPerPage = 20000;

bool holds(const http::Headers& headers, const std::string& text) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (lowered(std::string(headers[i].name) + ": " + std::string(headers[i].value)).find(text) != std::string::npos)
      return true;
  }
  return false;
}

bool matches(const RecordingFilter& filter, const Recording& recording) {
  if (!filter.host.empty() && lowered(filter.host) != recording.host) return false;
  if (!filter.method.empty() && filter.method != recording.request.method) return false;
  if (filter.status != 0 && filter.status != recording.response.status) return false;
  if (recording.started_unix_us < filter.since_unix_us) return false;
  if (!filter.path_contains.empty() &&
      http::split_target(recording.request.target).path.find(filter.path_contains) == std::string_view::npos)
    return false;
  if (filter.text.empty()) return true;
  const std::string text = lowered(filter.text);
  if (lowered(recording.url()).find(text) != std::string::npos) return true;
  for (const http::Headers* fields : {&recording.request.headers, &recording.request_trailers,
                                      &recording.response.headers, &recording.response_trailers}) {
    if (holds(*fields, text)) return true;
  }
  return std::ranges::any_of(recording.informational, [&](const auto& head) { return holds(head.headers, text); });
}

// "session number.id" of the row the next page begins at.
Result<std::pair<uint32_t, uint64_t>> parse_cursor(std::string_view cursor) {
  std::pair<uint32_t, uint64_t> out{0, 0};
  if (cursor.empty()) return out;
  const char* end = cursor.data() + cursor.size();
  const auto session = std::from_chars(cursor.data(), end, out.first);
  if (session.ec == std::errc{} && session.ptr != end && *session.ptr == '.') {
    const auto id = std::from_chars(session.ptr + 1, end, out.second);
    if (id.ec == std::errc{} && id.ptr == end) return out;
  }
  return fail(Code::InvalidArgument, "'" + std::string(cursor.substr(0, 60)) + "' is not a page of recordings",
              Origin::Store);
}

}  // namespace

Result<RecordingPage> ExchangeStore::list_recordings(const RecordingFilter& filter, size_t limit,
                                                     std::string_view cursor) const {
  TRY(start, parse_cursor(cursor));
  std::vector<Impl::Row> sessions;
  if (filter.session.empty()) {
    sessions = impl_->live_sessions();
  } else {
    TRY(found, impl_->find_session(filter.session));
    sessions.push_back(std::move(found));
  }
  RecordingPage page;
  size_t looked_at = 0;
  const auto guard = impl_->use();
  TRY_VOID(impl_->need_open());
  auto rows = impl_->iterate(Family::Recordings, Cached::No);
  for (const auto& [number, row] : sessions) {
    if (number < start.first) continue;
    const std::string prefix = session_prefix(number);
    for (rows->Seek(recording_key(number, number == start.first ? start.second : row.first_id));
         rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
      const uint64_t id = id_of_row(rows->key().ToStringView());
      if (page.items.size() >= limit || ++looked_at > kRowsPerPage) {
        page.next = std::to_string(number) + "." + std::to_string(id);
        return page;
      }
      TRY(recording, decode_record(rows->value().ToStringView()));
      recording.id = id;
      recording.session = row.name;
      if (matches(filter, recording)) page.items.push_back(std::move(recording));
    }
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "list recordings");
  return page;
}

Result<void> ExchangeStore::delete_recording(uint64_t id) {
  TRY_VOID(impl_->need_writable());
  for (const auto& [number, row] : impl_->live_sessions()) {
    {
      const std::lock_guard guard(impl_->write_mutex);
      if (impl_->broken || impl_->db == nullptr) TRY_VOID(impl_->get_going(Impl::Purpose::Remove));
      TRY(bytes, impl_->read(Family::Recordings, recording_key(number, id)));
      if (!bytes) continue;
      Impl::Removal removal;
      impl_->remove_recording(removal, number, id, *bytes);
      removal.batch.Put(impl_->cf(Family::Meta), kDeleted, {}).PermitUncheckedError();
      TRY_VOID(impl_->commit_removal(removal));
      impl_->owe_space(unix_now_us());
    }
    impl_->bump();
    impl_->win_space();
    return {};
  }
  return fail(Code::NotFound, "no recording " + std::to_string(id) + " in " + impl_->options.path, Origin::Store);
}

namespace {

// What is there of a recording whose end was never written.
Result<void> remove_begun(ExchangeStore::Impl& impl, ExchangeStore::Impl::Removal& removal, uint64_t id) {
  auto rows = impl.iterate(Family::Partial);
  const std::string parts = partial_part(id, 0);
  const std::string end = partial_row(id + 1);
  for (rows->Seek(partial_row(id)); rows->Valid() && rows->key().compare(end) < 0; rows->Next()) {
    removal.ids.insert(id);
    removal.batch.Delete(impl.cf(Family::Partial), rows->key()).PermitUncheckedError();
    ByteReader part(rows->value().ToStringView());
    if (rows->key().compare(parts) < 0 || part.byte() == kJournalPart) continue;
    const Digest segment = part.bytes<32>();
    if (part.ok()) impl.release_blob(removal, segment, id);
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read an unfinished recording");
  return {};
}

}  // namespace

Result<void> ExchangeStore::withdraw(std::span<const uint64_t> ids) {
  TRY_VOID(impl_->need_writable());
  const std::lock_guard guard(impl_->write_mutex);
  // What is set aside for removing is left alone until there is something to remove.
  TRY_VOID(impl_->go_on_if_closed());
  Impl::Removal removal;
  for (const uint64_t id : ids) TRY_VOID(remove_begun(*impl_, removal, id));
  for (const auto& [number, row] : impl_->live_sessions()) {
    for (const uint64_t id : ids) {
      TRY(bytes, impl_->read(Family::Recordings, recording_key(number, id)));
      if (bytes) impl_->remove_recording(removal, number, id, *bytes);
    }
  }
  if (removal.ids.empty()) return {};
  TRY_VOID(impl_->commit_removal(removal, impl_->options.durability));
  impl_->bump();
  return {};
}

}  // namespace tapdeck::store

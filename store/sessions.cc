// Sessions and takes.
#include <algorithm>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/base/clock.h"
#include "daemon/base/nearest.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

// Recordings looked at, newest first, for the last take that has any: a writer waits meanwhile.
constexpr size_t kTakeScan = 10000;
// Shorter ones are part of too many names.
constexpr size_t kTellingPart = 3;
constexpr size_t kListed = 5;

// The same but for case, a likely slip, or one of which the other is a part; empty: none.
std::string_view nearest_name(std::string_view word, const std::vector<std::string>& names) {
  const std::string wanted = lowered(word);
  std::vector<std::string> lower;
  for (const std::string& name : names) lower.push_back(lowered(name));
  const auto part_of = [](std::string_view part, std::string_view whole) {
    return part.size() >= kTellingPart && whole.contains(part);
  };
  const std::string_view slip = tapdeck::nearest(wanted, lower);
  auto found = std::ranges::find(lower, wanted);
  if (found == lower.end() && !slip.empty()) found = std::ranges::find(lower, slip);
  if (found == lower.end())
    found = std::ranges::find_if(
        lower, [&](const std::string& name) { return part_of(name, wanted) || part_of(wanted, name); });
  if (found == lower.end()) return {};
  return names[static_cast<size_t>(found - lower.begin())];
}

std::string listed(const std::vector<std::string>& names) {
  if (names.empty()) return "there is none yet";
  std::string out = names.size() == 1 ? "there is" : "there are";
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) out += (i == 0 ? " '" : ", '") + names[i] + "'";
  return out + (names.size() > kListed ? " and more: tapdeck session list" : "");
}

}  // namespace

std::optional<uint32_t> ExchangeStore::Impl::number_of(std::string_view name) const {
  for (const auto& [number, row] : sessions) {
    if (!row.hidden && row.name == name) return number;
  }
  return std::nullopt;
}

SessionInfo ExchangeStore::Impl::info(uint32_t number, const SessionRow& row) const {
  const auto chosen = active.find({});
  const std::string current = chosen == active.end() ? "default" : chosen->second;
  return {
      row.name,           number, row.takes, row.recordings, row.bytes, row.created_unix_us, row.last_recorded_unix_us,
      row.name == current};
}

Result<ExchangeStore::Impl::Row> ExchangeStore::Impl::find_session(std::string_view name) const {
  const std::lock_guard table(table_mutex);
  if (const auto number = number_of(name)) return Row{*number, sessions.at(*number)};
  std::vector<SessionRow> known;
  for (const auto& [number, row] : sessions) {
    if (!row.hidden) known.push_back(row);
  }
  std::ranges::sort(known, {}, [](const SessionRow& row) { return std::pair(-row.last_recorded_unix_us, row.name); });
  std::vector<std::string> names;
  for (const SessionRow& row : known) names.push_back(row.name);
  std::string detail = "no session '" + std::string(name) + "' in " + options.path;
  if (const auto near = nearest_name(name, names); !near.empty()) {
    detail += "; did you mean '" + std::string(near) + "'?";
  } else {
    detail += "; " + listed(names);
  }
  return fail(Code::NotFound, std::move(detail), Origin::Store);
}

std::vector<ExchangeStore::Impl::Row> ExchangeStore::Impl::live_sessions() const {
  const std::lock_guard table(table_mutex);
  std::vector<Row> out;
  for (const auto& [number, row] : sessions) {
    if (!row.hidden) out.emplace_back(number, row);
  }
  return out;
}

// Writes the row and then shows it in the table.
Result<void> ExchangeStore::Impl::put_session(uint32_t number, const SessionRow& row, Purpose purpose) {
  TRY_VOID(go_on_if_closed(purpose));
  std::string value;
  encode_session(row, value);
  rocksdb::WriteBatch batch;
  batch.Put(cf(Family::Sessions), session_prefix(number), value).PermitUncheckedError();
  TRY_VOID(commit(batch, options.durability, purpose));
  const std::lock_guard table(table_mutex);
  sessions[number] = row;
  return {};
}

Result<uint32_t> ExchangeStore::Impl::name_locked(std::string_view name, Visibility visibility,
                                                  std::optional<Secret> with_secret) {
  if (!is_valid_session_name(name)) {
    return fail(Code::InvalidArgument,
                "session name '" + std::string(name.substr(0, 80)) +
                    "': 1 to 64 of letters, digits, '.', '_', '-', and not beginning with '.' or '-'",
                Origin::Store);
  }
  const std::lock_guard table(table_mutex);
  if (visibility == Visibility::Listed && number_of(name))
    return fail(Code::AlreadyExists,
                "session '" + std::string(name) + "' exists; choose another name, or delete it first", Origin::Store);
  const uint32_t number = next_session++;
  SessionRow row;
  row.name = name;
  row.created_unix_us = unix_now_us();
  row.hidden = visibility == Visibility::Hidden;
  row.secret = with_secret;
  sessions.emplace(number, std::move(row));
  return number;
}

Result<uint32_t> ExchangeStore::Impl::create_locked(std::string_view name, Visibility visibility,
                                                    std::optional<Secret> with_secret) {
  TRY(number, name_locked(name, visibility, with_secret));
  const Result<void> written = put_session(number, row_of(number));
  if (written) return number;
  const std::lock_guard table(table_mutex);
  sessions.erase(number);
  return std::unexpected(written.error());
}

SessionRow ExchangeStore::Impl::row_of(uint32_t number) const {
  const std::lock_guard table(table_mutex);
  return sessions.at(number);
}

Result<SessionInfo> ExchangeStore::create_session(std::string_view name) {
  TRY_VOID(impl_->need_writable());
  const std::lock_guard guard(impl_->write_mutex);
  TRY(number, impl_->create_locked(name, Visibility::Listed, std::nullopt));
  const std::lock_guard table(impl_->table_mutex);
  return impl_->info(number, impl_->sessions.at(number));
}

Result<std::vector<SessionInfo>> ExchangeStore::list_sessions() const {
  const std::lock_guard table(impl_->table_mutex);
  std::vector<SessionInfo> out;
  for (const auto& [number, row] : impl_->sessions) {
    if (!row.hidden) out.push_back(impl_->info(number, row));
  }
  std::ranges::sort(out, {}, &SessionInfo::name);
  return out;
}

Result<SessionInfo> ExchangeStore::session(std::string_view name) const {
  TRY(found, impl_->find_session(name));
  const std::lock_guard table(impl_->table_mutex);
  return impl_->info(found.first, found.second);
}

Result<void> ExchangeStore::need_session(std::string_view name) const {
  if (impl_->older != nullptr && !impl_->find_session(name)) return impl_->older->need_session(name);
  TRY_VOID(impl_->find_session(name));
  return {};
}

Result<void> ExchangeStore::delete_session(std::string_view name) {
  TRY_VOID(impl_->need_writable());
  TRY(found, impl_->find_session(name));
  {
    const std::lock_guard guard(impl_->write_mutex);
    // Hidden first: whatever happens now, the session is gone for everybody, and the next open finishes the work.
    found.second.hidden = true;
    TRY_VOID(impl_->put_session(found.first, found.second, Impl::Purpose::Remove));
    impl_->drop_filter(found.first);
    const std::lock_guard table(impl_->table_mutex);
    impl_->sessions.erase(found.first);
  }
  impl_->bump();
  return impl_->erase_session_rows(found.first);
}

Result<void> ExchangeStore::activate_session(std::string_view name, std::string_view target) {
  TRY_VOID(impl_->need_writable());
  if (!name.empty()) TRY_VOID(impl_->find_session(name));
  const std::lock_guard guard(impl_->write_mutex);
  TRY_VOID(impl_->go_on_if_closed());
  rocksdb::WriteBatch batch;
  const std::string key = "active/" + std::string(target);
  if (name.empty()) {
    batch.Delete(impl_->cf(Family::Meta), key).PermitUncheckedError();
  } else {
    batch.Put(impl_->cf(Family::Meta), key, slice(name)).PermitUncheckedError();
  }
  TRY_VOID(impl_->commit(batch, impl_->options.durability));
  {
    const std::lock_guard table(impl_->table_mutex);
    if (name.empty()) {
      impl_->active.erase(std::string(target));
    } else {
      impl_->active[std::string(target)] = name;
    }
  }
  impl_->bump();
  return {};
}

Result<std::string> ExchangeStore::active_session(std::string_view target) const {
  const std::lock_guard table(impl_->table_mutex);
  for (const std::string& key : {std::string(target), std::string()}) {
    if (const auto found = impl_->active.find(key); found != impl_->active.end()) return found->second;
  }
  return std::string("default");
}

Result<ExchangeStore::Impl::Row> ExchangeStore::Impl::ensure_locked(std::string_view name) {
  std::optional<uint32_t> number;
  {
    const std::lock_guard table(table_mutex);
    number = number_of(name);
  }
  if (!number) {
    TRY(created, name_locked(name, Visibility::Listed, std::nullopt));
    number = created;
  }
  return Row{*number, row_of(*number)};
}

Result<uint64_t> ExchangeStore::Impl::newest_recorded_take(uint32_t number, uint64_t newest) const {
  const auto guard = use();
  TRY_VOID(need_open());
  auto rows = iterate(Family::Recordings, Cached::No);
  const std::string prefix = session_prefix(number);
  uint64_t found = 0;
  size_t scanned = 0;
  for (rows->SeekForPrev(recording_key(number, ~0ULL));
       rows->Valid() && rows->key().starts_with(prefix) && found < newest && scanned < kTakeScan;
       rows->Prev(), ++scanned) {
    const auto recording = decode_record(rows->value().ToStringView());
    if (recording) found = std::max(found, recording->take);
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "look for the last take");
  return found;
}

// A new one is counted in memory alone. It is written with the first thing recorded into it, and so is a new session:
// of a process that records nothing, or dies before it does, nothing stays.
Result<Take> ExchangeStore::Impl::take_locked(const Row& session, Append append) {
  const auto& [number, row] = session;
  if (append == Append::Yes) {
    TRY(recorded, newest_recorded_take(number, row.takes));
    const uint64_t last = recorded > 0 ? recorded : row.takes;
    if (last > 0) return Take{row.name, number, last};
  }
  const std::lock_guard table(table_mutex);
  return Take{row.name, number, ++sessions.at(number).takes};
}

Result<Take> ExchangeStore::open_take(std::string_view session, Append append) {
  TRY_VOID(impl_->need_writable());
  Take take;
  {
    const std::lock_guard guard(impl_->write_mutex);
    TRY_VOID(impl_->go_on_if_closed());
    TRY(found, impl_->ensure_locked(session));
    // Which take that is, only the store that this one is merged into knows.
    if (impl_->merges_later && append == Append::Yes && found.second.takes == 0) {
      rocksdb::WriteBatch batch;
      batch.Put(impl_->cf(Family::Meta), "append/" + found.second.name, {}).PermitUncheckedError();
      TRY_VOID(impl_->commit(batch, impl_->options.durability));
    }
    TRY(opened, impl_->take_locked(found, append));
    take = std::move(opened);
  }
  impl_->bump();
  return take;
}

Result<Take> ExchangeStore::open_take_of(const Holder& holder, std::string_view session, Append append) {
  TRY_VOID(impl_->need_writable());
  Take take;
  {
    const std::lock_guard guard(impl_->write_mutex);
    TRY_VOID(impl_->go_on_if_closed());
    TRY(found, impl_->ensure_locked(session));
    const std::string key = "holder/" + holder.name;
    // Both: numbers of deleted sessions are used again, and an import keeps the time.
    std::string place;
    ByteWriter(place).u32(found.first);
    ByteWriter(place).u64(static_cast<uint64_t>(found.second.created_unix_us));
    TRY(note, impl_->read(Family::Meta, key));
    if (append == Append::Yes && note && note->starts_with(place)) {
      ByteReader reader(std::string_view(*note).substr(place.size()));
      const uint64_t number = reader.u64();
      if (reader.rest() == holder.state && number > 0 && number <= found.second.takes)
        return Take{found.second.name, found.first, number};
    }
    TRY(opened, impl_->take_locked(found, Append::No));
    take = std::move(opened);
    // Kept at once: nobody else may be given the number after a restart, when its holder goes on with it.
    TRY_VOID(impl_->put_session(found.first, impl_->row_of(found.first)));
    ByteWriter(place).u64(take.number);
    place += holder.state;
    rocksdb::WriteBatch batch;
    batch.Put(impl_->cf(Family::Meta), key, place).PermitUncheckedError();
    TRY_VOID(impl_->commit(batch, impl_->options.durability));
  }
  impl_->bump();
  return take;
}

Secret ExchangeStore::Impl::secret_of(const SessionRow& row) const {
  return row.secret ? *row.secret : derive("session", row.name);
}

Result<Secret> ExchangeStore::key_secret(std::string_view session) const {
  {
    const std::lock_guard table(impl_->table_mutex);
    if (const auto number = impl_->number_of(session)) return impl_->secret_of(impl_->sessions.at(*number));
  }
  return impl_->derive("session", session);
}

}  // namespace tapdeck::store

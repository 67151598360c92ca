// Reading: replay lookups, recordings, bodies, near misses, origin facts.
#include <algorithm>
#include <iterator>
#include <optional>

#include "daemon/base/ascii.h"
#include "store/record_codec.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr size_t kNearestScan = 5000;

constexpr size_t kParameters = 64;  // of a query, the first

std::vector<std::string_view> parameters_of(std::string_view query) {
  std::vector<std::string_view> out;
  while (out.size() < kParameters) {
    const size_t end = query.find('&');
    out.push_back(query.substr(0, end));
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
  return out;
}

std::string_view name_of(std::string_view parameter) {
  return parameter.substr(0, parameter.find('='));
}

// 0 to 90, by the parameters they share, half by the names alone.
size_t query_distance(std::string_view a, std::string_view b) {
  std::vector<std::string_view> more = parameters_of(a), fewer = parameters_of(b);
  if (more.size() < fewer.size()) more.swap(fewer);
  size_t halves = 0;
  for (const std::string_view one : more) {
    if (std::ranges::find(fewer, one) != fewer.end()) {
      halves += 2;
    } else if (std::ranges::find(fewer, name_of(one), name_of) != fewer.end()) {
      halves += 1;
    }
  }
  return 90 - 90 * halves / (2 * more.size());
}

// 0 to 200, by their sizes: all that is known of them.
size_t body_distance(uint64_t a, uint64_t b) {
  const uint64_t longest = std::max<uint64_t>({a, b, 1});
  return 200 * (longest - std::min(a, b)) / longest;
}

// How far apart two requests are; smaller is nearer. Method and place weigh most: a wrong body of the right call says
// more than the right body of another call. Nothing is nearer than what differs in its body alone (nearest()).
size_t distance(const KeyParts& a, const KeyParts& b) {
  size_t out = 0;
  if (a.host != b.host) out += 4000;
  if (a.method != b.method) out += 2000;
  if (a.port != b.port) out += 600;
  if (a.scheme != b.scheme) out += 600;
  if (a.path != b.path) {
    const size_t longest = std::max(a.path.size(), b.path.size());
    const auto [end, other] = std::ranges::mismatch(a.path, b.path);
    ignore(other, "the lengths agree");
    out += 1000 + 2000 * (longest - static_cast<size_t>(end - a.path.begin())) / longest;
  }
  if (a.query != b.query) out += 500 + query_distance(a.query, b.query);
  if (a.body_digest != b.body_digest) out += 200 + body_distance(a.body_size, b.body_size);
  return out + (a.dimensions == b.dimensions ? 0 : 450);
}

// The index's rows of one key.
class RowsOfKey {
 public:
  // The newest take first, each in the order of its ids. False: this one and what follows answers no more.
  bool add(uint64_t take, uint64_t id, ReplayRank rank) {
    if (last_ && take != take_) return false;
    if (take != take_) {
      in_turn_.clear();
      left_.clear();
    }
    take_ = take;
    if (rank == ReplayRank::Finished) {
      last_ = in_turn_.size();
      in_turn_.push_back(id);
      return true;
    }
    if (rank == ReplayRank::Left) {
      in_turn_.push_back(id);
      left_.push_back(id);
    }
    if (unfinished_.empty() || take == unfinished_take_) {
      unfinished_take_ = take;
      unfinished_.push_back(id);
    }
    return true;
  }
  [[nodiscard]] ExchangeStore::Found all() && {
    if (!last_) {
      const size_t count = unfinished_.size();
      return {std::move(unfinished_), count, {}, {}};
    }
    const size_t count = in_turn_.size();
    std::ranges::copy_if(unfinished_, std::back_inserter(in_turn_),
                         [this](uint64_t id) { return !std::ranges::binary_search(left_, id); });
    return {std::move(in_turn_), count, last_, std::move(left_)};
  }

 private:
  uint64_t take_ = 0;
  std::vector<uint64_t> in_turn_, left_;  // of that take
  std::optional<size_t> last_;            // finished one of in_turn_
  uint64_t unfinished_take_ = 0;
  std::vector<uint64_t> unfinished_;
};

}  // namespace

Result<std::vector<uint64_t>> ExchangeStore::lookup(std::string_view session, const Key& key) const {
  TRY(found, lookup_all(session, key));
  found.ids.resize(found.usable);
  return std::move(found.ids);
}

Result<ExchangeStore::Found> ExchangeStore::lookup_all(std::string_view session, const Key& key) const {
  TRY(found, impl_->find_own(session, key));
  if (!found.ids.empty() || impl_->older == nullptr) return found;
  auto older = impl_->older->lookup_all(session, key);
  if (!older && older.error().code == Code::NotFound) return found;  // the session is new here
  if (older) {
    for (uint64_t& id : older->ids) id |= kOlder;
    for (uint64_t& id : older->left) id |= kOlder;
  }
  return older;
}

// Building an iterator costs as much as seeking in it. One that is refreshed sees what is there now.
std::unique_ptr<rocksdb::Iterator> ExchangeStore::Impl::take_cursor() {
  std::unique_ptr<rocksdb::Iterator> out(cursor.exchange(nullptr));
  if (out != nullptr && out->Refresh().ok()) return out;
  rocksdb::ReadOptions read_options;
  read_options.prefix_same_as_start = true;
  read_options.fill_cache = keeps_blocks;
  out.reset(db->NewIterator(read_options, cf(Family::Match)));
  return out;
}

void ExchangeStore::Impl::give_back(std::unique_ptr<rocksdb::Iterator> rows) {
  rows.reset(cursor.exchange(rows.release()));
}

Result<ExchangeStore::Found> ExchangeStore::Impl::find_own(std::string_view session, const Key& key) {
  TRY(found, find_session(session));
  const auto guard = use();
  TRY_VOID(need_open());
  count_nothing();
  auto rows = take_cursor();
  const std::string prefix = match_prefix(found.first, key);
  RowsOfKey of_key;
  for (rows->Seek(prefix); rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    ByteReader reader(rows->key().ToStringView().substr(prefix.size()));
    const uint64_t take = ~reader.u64();
    const uint64_t id = reader.u64();
    const auto rank = rows->value().empty() ? ReplayRank::LastResort : static_cast<ReplayRank>(rows->value()[0]);
    if (!of_key.add(take, id, rank)) break;
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "look up a recording");
  give_back(std::move(rows));
  Found all = std::move(of_key).all();
  if (all.ids.empty()) want_filter(found.first, found.second.recordings);
  return all;
}

Result<Recording> ExchangeStore::get(std::string_view session, uint64_t id, const View* view) const {
  if (impl_->older != nullptr && (id & kOlder) != 0) return impl_->older->get(session, id & ~kOlder);
  TRY(found, impl_->find_session(session));
  const auto guard = impl_->use();
  TRY(bytes, impl_->read(Family::Recordings, recording_key(found.first, id), view ? view->snapshot : nullptr));
  if (!bytes) {
    return fail(Code::NotFound, "no recording " + std::to_string(id) + " in session '" + std::string(session) + "'",
                Origin::Store);
  }
  TRY(recording, decode_record(*bytes));
  recording.id = id;
  recording.session = session;
  return recording;
}

Result<Recording> ExchangeStore::get(uint64_t id, const View* view) const {
  for (const auto& [number, row] : impl_->live_sessions()) {
    auto found = get(row.name, id, view);
    if (found || found.error().code != Code::NotFound) return found;
  }
  return fail(Code::NotFound, "no recording " + std::to_string(id) + " in " + impl_->options.path, Origin::Store);
}

Result<void> ExchangeStore::read_body(const BodyRef& body, const std::function<bool(std::string_view)>& sink,
                                      const View* view) const {
  if (!body.inline_bytes.empty()) {
    ignore(sink(body.inline_bytes), "there is nothing after it");
    return {};
  }
  for (const auto& segment : body.segments) {
    rocksdb::PinnableSlice value;
    {
      const auto guard = impl_->use();
      TRY_VOID(impl_->need_open());
      rocksdb::ReadOptions read_options;
      if (view != nullptr) read_options.snapshot = view->snapshot;
      const auto status =
          impl_->db->Get(read_options, impl_->cf(Family::Blobs), slice(store::view(segment.digest)), &value);
      if (!status.ok() && !status.IsNotFound()) return fail_status(status, "read a body");
      if (status.IsNotFound() && impl_->older != nullptr) {
        BodyRef one;
        one.size = segment.size;
        one.segments.push_back(segment);
        bool goes_on = true;
        TRY_VOID(impl_->older->read_body(one, [&](std::string_view bytes) { return goes_on = sink(bytes); }));
        if (!goes_on) return {};
        continue;
      }
      if (status.IsNotFound() || value.size() != segment.size) {
        return fail(Code::Corrupt, "body segment " + to_hex(segment.digest).substr(0, 16) + " is missing or damaged",
                    Origin::Store);
      }
      // The slice pins memory of the database: it must not outlive a reopen.
      if (!sink(value.ToStringView())) return {};
      value.Reset();
    }
  }
  return {};
}

Result<std::string> ExchangeStore::read_body(const BodyRef& body, uint64_t limit, const View* view) const {
  if (body.size > limit) {
    return fail(
        Code::TooLarge,
        "body of " + std::to_string(body.size) + " bytes, more than the " + std::to_string(limit) + " asked for",
        Origin::Store);
  }
  std::string out;
  const auto append = [&out](std::string_view bytes) {
    out += bytes;
    return true;
  };
  TRY_VOID(read_body(body, append, view));
  return out;
}

Result<std::vector<Nearest>> ExchangeStore::nearest(std::string_view session, const KeyParts& parts,
                                                    size_t limit) const {
  TRY(found, impl_->find_session(session));
  struct Candidate {
    size_t distance;
    uint64_t id;
    Key key;
    KeyParts parts;
  };
  std::vector<Candidate> best;  // sorted, at most `limit`, one a key
  const auto guard = impl_->use();
  TRY_VOID(impl_->need_open());
  auto rows = impl_->iterate(Family::Recordings, Cached::No);
  const std::string prefix = session_prefix(found.first);
  size_t scanned = 0;
  for (rows->SeekForPrev(recording_key(found.first, ~0ull));
       rows->Valid() && rows->key().starts_with(prefix) && scanned < kNearestScan; rows->Prev(), ++scanned) {
    auto recording = decode_record(rows->value().ToStringView());
    if (!recording) continue;  // one damaged record must not hide the hints of the others
    Candidate candidate{0, id_of_row(rows->key().ToStringView()), recording->key, parts_of(*recording)};
    candidate.distance = distance(candidate.parts, parts);
    if (std::ranges::find(best, candidate.key, &Candidate::key) != best.end()) continue;
    const auto place = std::ranges::upper_bound(best, candidate.distance, {}, &Candidate::distance);
    if (place == best.end() && best.size() >= limit) continue;
    best.insert(place, std::move(candidate));
    if (best.size() > limit) best.pop_back();
  }
  if (best.empty() && impl_->older != nullptr) return impl_->older->nearest(session, parts, limit);
  std::vector<Nearest> out;
  for (const auto& candidate : best) out.push_back({candidate.id, differences(candidate.parts, parts)});
  return out;
}

Result<std::optional<OriginFacts>> ExchangeStore::origin_facts(std::string_view session, std::string_view host,
                                                               uint16_t port,
                                                               std::optional<std::string_view> offered) const {
  TRY(found, impl_->find_session(session));
  const std::string name = lowered(host);
  const auto guard = impl_->use();
  const std::string row = origin_row(found.first, port, name);
  std::optional<std::string> bytes;
  if (offered) {
    TRY(seen, impl_->read(Family::Origins, alpn_row(row, *offered)));
    bytes = std::move(seen);
  }
  const bool is_of_offer = bytes.has_value();
  if (!bytes) {
    TRY(any, impl_->read(Family::Origins, row));
    bytes = std::move(any);
  }
  if (!bytes && impl_->older != nullptr) return impl_->older->origin_facts(session, host, port, offered);
  if (!bytes) return std::optional<OriginFacts>{};
  TRY(facts, decode_origin(*bytes));
  facts.is_of_offer = is_of_offer;
  return std::optional(std::move(facts));
}

}  // namespace tapdeck::store

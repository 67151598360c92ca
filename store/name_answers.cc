#include "store/name_answers.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/base/ascii.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

constexpr uint16_t kNamePort = 53;
// Its row stands beside that of an origin of the name, where those of offers by ALPN stand: this is none.
constexpr std::string_view kNameNote = "\1name,";
constexpr size_t kTypeDigits = 5;  // always, so that rows stand in the order of their types

std::string note_of_type(uint16_t type) {
  const std::string digits = std::to_string(type);
  return std::string(kNameNote) + std::string(kTypeDigits - digits.size(), '0') + digits;
}

std::string name_row(uint32_t session, std::string_view name, uint16_t type) {
  return alpn_row(origin_row(session, kNamePort, name), note_of_type(type));
}

bool is_name(std::string_view name) {
  return name.size() <= kMostNameBytes && std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

bool is_answer(const NameAnswer& answer) {
  if (!is_name(answer.name) || answer.reply.size() > kMostReplyBytes) return false;
  return answer.end == "answered" || (answer.reply.empty() && (answer.end == "silent" || answer.end == "unreachable"));
}

std::optional<uint16_t> type_in(std::string_view digits) {
  uint16_t type = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), type);
  const bool is_one = error == std::errc() && end == digits.data() + digits.size();
  return is_one ? std::optional(type) : std::nullopt;
}

// The facts of such a row: what is said in their place is in docs/EXPORT_FORMAT.md.
OriginFacts facts_of(const NameAnswer& answer) {
  return {.alpn = answer.reply, .tls_version = "", .verify_failure = answer.end, .peer_certificate_sha256 = ""};
}

// `place`: of a row, behind session and port. nullopt: another row, or one that was never written here.
std::optional<NameAnswer> answer_in(std::string_view place, std::string_view value) {
  const size_t zero = place.find('\0');
  if (zero == std::string_view::npos || !place.substr(zero + 1).starts_with(kNameNote)) return std::nullopt;
  const auto type = type_in(place.substr(zero + 1 + kNameNote.size()));
  if (!type || place.substr(zero + 1) != note_of_type(*type)) return std::nullopt;
  auto facts = decode_origin(value);
  if (!facts) return std::nullopt;
  NameAnswer out{.name = std::string(place.substr(0, zero)),
                 .type = *type,
                 .end = std::move(facts->verify_failure),
                 .reply = std::move(facts->alpn)};
  return is_answer(out) ? std::optional(std::move(out)) : std::nullopt;
}

// Of this store alone, without the one it was opened beside.
Result<std::optional<NameAnswer>> own_answer(const ExchangeStore::Impl& store, uint32_t session, std::string_view name,
                                             uint16_t type) {
  const std::string row = name_row(session, name, type);
  const auto guard = store.use();
  TRY(value, store.read(Family::Origins, row));
  if (!value) return std::optional<NameAnswer>{};
  return answer_in(std::string_view(row).substr(origin_row(session, kNamePort, {}).size()), *value);
}

}  // namespace

PendingWrite name_write(const Take& take, const NameAnswer& answer) {
  PendingWrite write;
  write.step = PendingWrite::Step::Abandon;  // of no recording, in no session: nothing
  NameAnswer kept = answer;
  kept.name = lowered(kept.name);
  if (!is_answer(kept)) return write;
  write.step = PendingWrite::Step::Note;
  write.session_number = take.session_number;
  write.take = take.number;
  write.host = std::move(kept.name);
  write.port = kNamePort;
  write.alpn = AlpnChoice{note_of_type(answer.type), "", true};
  encode_origin(facts_of(kept), write.encoded);
  return write;
}

Result<std::optional<NameAnswer>> name_answer(const ExchangeStore& store, std::string_view session,
                                              std::string_view name, uint16_t type) {
  const auto& impl = ExchangeStore::Impl::of(store);
  const std::string asked = lowered(name);
  const auto found = impl.find_session(session);
  if (found) {
    TRY(own, own_answer(impl, found->first, asked, type));
    if (own || impl.older == nullptr) return std::move(own);
  }
  if (impl.older == nullptr) return std::unexpected(found.error());
  auto before = name_answer(*impl.older, session, asked, type);
  if (found && !before && before.error().code == Code::NotFound) return std::nullopt;  // the session is new here
  return before;
}

Result<std::vector<NameAnswer>> name_answers(const ExchangeStore& store, std::string_view session, size_t limit,
                                             std::string_view after) {
  const auto& impl = ExchangeStore::Impl::of(store);
  TRY(found, impl.find_session(session));
  const std::string prefix = origin_row(found.first, kNamePort, {});
  std::string from = prefix;
  if (!after.empty()) {
    const size_t comma = after.rfind(',');
    const auto type = comma == std::string_view::npos ? std::nullopt : type_in(after.substr(comma + 1));
    if (!type || !is_name(after.substr(0, comma)))
      return fail(Code::InvalidArgument, "'" + std::string(after) + "' is no cursor of a list of names", Origin::Store);
    from = name_row(found.first, after.substr(0, comma), *type) + '\0';  // the next one there may be
  }
  const auto guard = impl.use();
  TRY_VOID(impl.need_open());
  std::vector<NameAnswer> out;
  auto rows = impl.iterate(Family::Origins, Cached::No);
  for (rows->Seek(from); out.size() < limit && rows->Valid() && rows->key().starts_with(prefix); rows->Next()) {
    auto one = answer_in(rows->key().ToStringView().substr(prefix.size()), rows->value().ToStringView());
    if (one) out.push_back(std::move(*one));
  }
  if (!rows->status().ok()) return fail_status(rows->status(), "read names of " + std::string(session));
  return out;
}

std::string cursor_of(const NameAnswer& answer) {
  return answer.name + "," + std::to_string(answer.type);
}

}  // namespace tapdeck::store

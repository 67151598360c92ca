// Any bytes are a query or are refused by an answer, if by anything; an answer to a query is one, no larger than its
// asker takes, and no query itself. Any bytes that were recorded as an answer read as printable text, and given again
// say the same. Whatever is seen in passing, what is reported of it was an answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/names/observer.h"
#include "daemon/names/view.h"

using namespace tapdeck;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

size_t most_to(const names::Query& query) {
  return query.edns ? std::max<size_t>(512, query.edns->payload) : 512;
}

void answers_are_answers(const names::Query& query, std::string_view recorded) {
  static const std::vector<Endpoint> kMany(300, *Endpoint::parse("2001:db8::1"));
  const names::Asker asker;
  names::TapeSources many, reply, none;
  many.addresses = [](std::string_view) { return kMany; };
  reply.recorded = [&](std::string_view name, uint16_t type) {
    return names::Lookup{std::string(name), type, names::LookupEnd::Answered, std::string(recorded)};
  };
  none.search = {"corp.lan"};
  names::TapeAnswers known(many), known_answer(reply), unknown(none);
  for (const std::string& answer : {names::answer_to(query, names::Rcode::NoError, kMany), known.of(query, asker),
                                    known_answer.of(query, asker), unknown.of(query, asker)}) {
    check(answer.size() <= most_to(query) && names::is_answer_to(query, answer) && !names::read_query(answer));
    check(names::read_answer(answer).has_value());
  }
}

void again_says_the_same(const names::Query& query, std::string_view recorded) {
  const auto again = names::answer_again(query, recorded);
  if (!again) return;
  check(again->size() <= most_to(query) && names::is_answer_to(query, *again) && !names::read_query(*again));
  const auto said = names::read_answer(*again), before = names::read_answer(recorded);
  check(said.has_value());
  const bool is_whole = !names::is_truncated(*again) && recorded.substr(4, 2) != std::string_view("\0\0", 2);
  if (is_whole && before) check(*said == *before);
}

void is_printable(std::string_view reply) {
  const auto answer = names::read_answer(reply);
  if (!answer) return;
  for (const std::string& text : answer->records) {
    check(text.size() <= 5 * names::kMostText &&
          std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; }));
  }
  check(std::ranges::is_sorted(answer->records));
}

void is_observed(std::string_view question, std::string_view answer) {
  size_t ended = 0;
  names::Observer observer([&](uint32_t, const names::Lookup& lookup) {
    ++ended;
    check(lookup.reply.empty() == (lookup.end == names::LookupEnd::Silent));
  });
  names::Sighting seen;
  for (const auto& [way, bytes] :
       {std::pair(names::Sighting::Way::Question, question), std::pair(names::Sighting::Way::Answer, answer)}) {
    seen.way = way;
    seen.bytes = bytes;
    observer.saw(seen, {});
  }
  observer.give_up_late_ones(SteadyTime(std::chrono::hours(1)));
  check(ended + observer.malformed() <= 2);
}

// The question of an answer as a query of its own.
std::string query_for(std::string_view reply) {
  std::string query(reply);
  if (query.size() > 3) query[2] = query[3] = 0;
  return query;
}

std::string as_reply(std::string_view query) {
  std::string reply(query);
  if (reply.size() > 3) reply[2] = static_cast<char>(reply[2] | 0x80);
  return reply;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  is_printable(bytes);
  is_observed(query_for(bytes), bytes);
  if (const auto own = names::read_query(query_for(bytes))) again_says_the_same(*own, bytes);
  const auto query = names::read_query(bytes);
  if (!query) {
    const auto again = names::read_query(query.error().answer);
    check(!again && again.error().answer.empty());
    return 0;
  }
  answers_are_answers(*query, as_reply(bytes));
  again_says_the_same(*query, as_reply(bytes));
  is_observed(bytes, as_reply(bytes));
  ignore(names::is_answer_to(*query, bytes.substr(size / 2)), "only that it returns");
  return 0;
}

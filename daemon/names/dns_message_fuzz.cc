// Any bytes are a query or are refused by an answer, if by anything; an answer to a query is one, no larger than its
// asker takes, and no query itself.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/names/tape_answers.h"

using namespace tapdeck;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto query = names::read_query(bytes);
  if (!query) {
    const auto again = names::read_query(query.error().answer);
    check(!again && again.error().answer.empty());
    return 0;
  }
  static const std::vector<Endpoint> kMany(300, *Endpoint::parse("2001:db8::1"));
  const size_t most = query->edns ? std::max<size_t>(512, query->edns->payload) : 512;
  names::TapeAnswers known([](std::string_view) { return kMany; }, {}, {"corp.lan"});
  names::TapeAnswers unknown([](std::string_view) { return std::nullopt; }, {}, {"corp.lan"});
  for (const std::string& answer :
       {names::answer_to(*query, names::Rcode::NoError, kMany), known.of(*query), unknown.of(*query)}) {
    check(answer.size() <= most && names::is_answer_to(*query, answer) && !names::read_query(answer));
  }
  ignore(names::is_answer_to(*query, bytes.substr(size / 2)), "only that it returns");
  return 0;
}

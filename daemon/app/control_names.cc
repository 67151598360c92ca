// AppControl's answers about one session and the names its clients asked for.
#include <algorithm>

#include "daemon/app/control.h"
#include "daemon/app/json_view.h"
#include "daemon/app/name_answer_view.h"
#include "store/exchange_store.h"
#include "store/name_answers.h"

namespace tapdeck::app {
namespace {

// Of one session: more are not counted, they would all have to be read.
constexpr size_t kMostCounted = 10000;
// In memory at a time: each may be 64 KiB.
constexpr size_t kNamesPage = 500;

// Up to a page more than kMostCounted.
Result<size_t> count_names(const store::ExchangeStore& store, const std::string& session) {
  size_t count = 0;
  std::string after;
  while (count <= kMostCounted) {
    TRY(page, store::name_answers(store, session, kNamesPage, after));
    count += page.size();
    if (page.size() < kNamesPage) break;
    after = store::cursor_of(page.back());
  }
  return count;
}

}  // namespace

Result<admin::Json> AppControl::session(const std::string& name) {
  TRY(info, parts_.store->session(name));
  TRY(names, count_names(*parts_.store, name));
  Json out = session_view(info);
  out["names"] = std::min(names, kMostCounted);
  if (names > kMostCounted) out["more_names"] = true;
  return dump(out);
}

Result<admin::Json> AppControl::names(const std::string& session, const admin::Page& page) {
  TRY(found, store::name_answers(*parts_.store, session, size_t{page.limit} + 1, page.cursor));
  Json out = {{"items", Json::array()}, {"next", nullptr}};
  if (found.size() > page.limit) {
    found.pop_back();
    out["next"] = store::cursor_of(found.back());
  }
  for (const store::NameAnswer& answer : found) out["items"].push_back(name_view(answer));
  return dump(out);
}

}  // namespace tapdeck::app

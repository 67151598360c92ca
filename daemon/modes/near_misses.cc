#include "daemon/modes/near_misses.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "daemon/modes/body_difference.h"

namespace tapdeck::modes {
namespace {

// Of another URL the body is another by itself, and may be of a kind that nobody would compare.
bool is_compared(const store::Nearest& near) {
  const auto differs_in = [&near](std::string_view where) {
    return std::ranges::find(near.differs, where, &store::Difference::where) != near.differs.end();
  };
  constexpr std::array<std::string_view, 5> kUrl = {"scheme", "host", "port", "path", "query"};
  return differs_in("body") && std::ranges::none_of(kUrl, differs_in);
}

Result<SeenBody> see_recorded(const store::ExchangeStore& store, const store::Recording& recording) {
  std::string begin;
  const auto append = [&begin](std::string_view bytes) {
    begin += bytes.substr(0, kSeenBody - begin.size());
    return begin.size() < kSeenBody;
  };
  TRY_VOID(store.read_body(recording.request_body, append));
  return see_body(recording.request.headers, begin, recording.request_body.size);
}

}  // namespace

Result<NearMisses> near_misses(const store::ExchangeStore& store, std::string_view session,
                               const store::KeyParts& parts, const AskedBody& asked, const store::Redactor& redactor,
                               size_t limit) {
  NearMisses out;
  TRY(nearest, store.nearest(session, parts, limit));
  out.nearest = std::move(nearest);
  out.bodies.resize(out.nearest.size());
  if (asked.begin.empty()) return out;
  const SeenBody requested = see_body(asked.fields, asked.begin, parts.body_size);
  for (size_t i = 0; i < out.nearest.size(); ++i) {
    store::Nearest& near = out.nearest[i];
    if (!is_compared(near)) continue;
    const auto recording = store.get(session, near.id);
    if (!recording) continue;
    store::KeyParts recorded_parts = store::parts_of(*recording);
    if (recorded_parts.body_size == 0) continue;
    const auto recorded = see_recorded(store, *recording);
    if (!recorded) continue;
    store::KeyParts requested_parts = parts;
    if (recorded->is_whole && requested.is_whole) {  // sizes of the same kind, and what people know of what they sent
      recorded_parts.body_size = recorded->text.size();
      requested_parts.body_size = requested.text.size();
    }
    near.differs = store::differences(recorded_parts, requested_parts);
    out.bodies[i] = body_differences(*recorded, requested, redactor);
  }
  return out;
}

}  // namespace tapdeck::modes

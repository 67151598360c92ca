#include "daemon/modes/segment_reader.h"

#include <utility>

#include "daemon/net/offload.h"

namespace tapdeck::modes {

net::Task<> SegmentReader::begin() {
  auto hold = [store = store_] { return store->hold(); };
  view_ = co_await net::offload(*readers_, hold);
  begun_ = true;
}

net::Task<Result<std::string>> SegmentReader::read(store::Segment segment) {
  if (!begun_) co_await begin();
  store::BodyRef part;
  part.size = segment.size;
  part.segments.push_back(segment);
  auto read = [store = store_, view = view_, part] { return store->read_body(part, part.size, view.get()); };
  co_return co_await net::offload(*readers_, read);
}

// Letting go takes a lock of the database: not on a worker.
void SegmentReader::forget() {
  begun_ = false;
  if (view_ == nullptr) return;
  asio::post(*readers_, [view = std::move(view_)] {});
}

}  // namespace tapdeck::modes

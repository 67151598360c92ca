// The libraries behind coding's Stage. Internal to coding/. Thread: any, one at a time.
#pragma once

#include <memory>

#include "daemon/coding/decoder.h"

namespace tapdeck::coding {

// Gzip (any number of members) and deflate (zlib, or the raw stream that some servers mean by it).
[[nodiscard]] std::unique_ptr<Stage> make_inflate(Coding coding);
[[nodiscard]] std::unique_ptr<Stage> make_deflate(Coding coding);
[[nodiscard]] std::unique_ptr<Stage> make_brotli_decoder();
[[nodiscard]] std::unique_ptr<Stage> make_brotli_encoder();
[[nodiscard]] std::unique_ptr<Stage> make_zstd_decoder();
[[nodiscard]] std::unique_ptr<Stage> make_zstd_encoder();

}  // namespace tapdeck::coding

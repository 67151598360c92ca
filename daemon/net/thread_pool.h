// ThreadPool: threads for blocking calls (store reads). A name for Asio's, so that folders without Asio can hold one.
#pragma once

#include <asio/thread_pool.hpp>

namespace tapdeck::net {

using ThreadPool = asio::thread_pool;

}  // namespace tapdeck::net

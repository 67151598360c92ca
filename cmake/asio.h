// Precompiled for the folders that see Asio, themselves or through net/; most of those who write JSON are among them,
// and most of what they compile is of exchanges: what those are made of is read, and its templates made, once.
#pragma once

#include "cmake/std.h"

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>

#include "daemon/base/log.h"
#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/exchange/error_response.h"
#include "daemon/exchange/exchange.h"
#include "daemon/exchange/flow.h"
#include "daemon/net/deadline.h"
#include "daemon/net/offload.h"
#include "daemon/net/stream.h"
#include "daemon/net/suspend.h"
#include "daemon/net/task_group.h"
#include "daemon/transport/transport.h"
#include "store/exchange_store.h"

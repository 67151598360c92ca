// Where coroutine frames live: blocks that stay with their thread, by size, instead of malloc's.
//
// An exchange passes through some two dozen frames. Asio 1.22 keeps sixteen blocks a thread, searches them in turn, and
// none above 1,020 bytes, which leaves the largest frames to the slow half of malloc at every request (measured:
// fifteen frames a recorded request came from there). Specializing its allocation is the only place to say otherwise,
// since its promise type has an operator new of its own; task.h includes this before anything can use it. A frame may
// be freed on another thread than it was made on; it stays there then. Thread: each has its own.
#pragma once

#include <asio/detail/thread_info_base.hpp>

#include <cstddef>

namespace tapdeck::net {

[[nodiscard]] void* take_frame(std::size_t size);
void give_back_frame(void* frame, std::size_t size) noexcept;

}  // namespace tapdeck::net

template <>
inline void* asio::detail::thread_info_base::allocate<asio::detail::thread_info_base::awaitable_frame_tag>(
    awaitable_frame_tag /*purpose*/, thread_info_base* /*thread*/, std::size_t size, std::size_t /*align*/) {
  return tapdeck::net::take_frame(size);
}

template <>
inline void asio::detail::thread_info_base::deallocate<asio::detail::thread_info_base::awaitable_frame_tag>(
    awaitable_frame_tag /*purpose*/, thread_info_base* /*thread*/, void* pointer, std::size_t size) {
  tapdeck::net::give_back_frame(pointer, size);
}

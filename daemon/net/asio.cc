// Asio's own code, compiled once here instead of inline in every file (ASIO_SEPARATE_COMPILATION).
#include "daemon/net/frame_memory.h"

#include <asio/impl/src.hpp>

// The checksum of RocksDB's log and blob files, by the processor's own instruction.
//
// Debian builds RocksDB for the oldest processors of its kind: there a checksum is looked up in tables, 1.4 GB/s, and
// every stored byte has two (10 GB/s here). The library calls the function by its name, so that the program's own goes
// before the library's; one that no longer calls it so is as fast as it is.
#if defined(__x86_64__)
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace rocksdb::crc32c {
namespace {

using Function = uint32_t (*)(uint32_t, const char*, size_t);

__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const char* data, size_t size) {
  uint64_t running = crc ^ 0xffffffff;
  for (; size >= sizeof running; data += sizeof running, size -= sizeof running) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof word);
    running = __builtin_ia32_crc32di(running, word);
  }
  auto last = static_cast<uint32_t>(running);
  for (; size > 0; ++data, --size) last = __builtin_ia32_crc32qi(last, static_cast<unsigned char>(*data));
  return last ^ 0xffffffff;
}

Function fastest() {
  if (__builtin_cpu_supports("sse4.2")) return by_instruction;
  void* const librarys = ::dlsym(RTLD_NEXT, "_ZN7rocksdb6crc32c6ExtendEjPKcm");
  if (librarys == nullptr) std::abort();
  return reinterpret_cast<Function>(librarys);
}

}  // namespace

// The CRC-32C (RFC 3720 B.4) of bytes whose beginning has the CRC-32C `crc`, and which go on with `size` at `data`.
uint32_t Extend(uint32_t crc, const char* data, size_t size) {
  static const Function function = fastest();
  return function(crc, data, size);
}

}  // namespace rocksdb::crc32c
#endif

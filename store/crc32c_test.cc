// That RocksDB's checksums are ours, and right: a store written without them must be read.
#if defined(__x86_64__)
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace rocksdb::crc32c {
uint32_t Extend(uint32_t crc, const char* data, size_t size);
}

namespace tapdeck::store {
namespace {

constexpr const char* kName = "_ZN7rocksdb6crc32c6ExtendEjPKcm";
using Function = uint32_t (*)(uint32_t, const char*, size_t);

// What the library would call without ours.
Function librarys() {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, kName));
}

TEST(Crc32c, TheLibraryFindsOursByItsName) {
  EXPECT_EQ(::dlsym(RTLD_DEFAULT, kName), reinterpret_cast<void*>(&rocksdb::crc32c::Extend));
  EXPECT_NE(librarys(), &rocksdb::crc32c::Extend);
}

TEST(Crc32c, TheStandardsExample) {
  constexpr std::string_view kDigits = "123456789";
  EXPECT_EQ(rocksdb::crc32c::Extend(0, kDigits.data(), kDigits.size()), 0xe3069283);
}

TEST(Crc32c, EqualsTheLibrarysForAnyBeginningAndLength) {
  ASSERT_NE(librarys(), nullptr);
  std::string bytes;
  for (uint32_t i = 0; i < 600; ++i) bytes += static_cast<char>(i * 2654435761U >> 13);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; size < 300; ++size) {
      const auto before = static_cast<uint32_t>(begin * 0x9e3779b9);
      ASSERT_EQ(rocksdb::crc32c::Extend(before, bytes.data() + begin, size),
                librarys()(before, bytes.data() + begin, size))
          << begin << ", " << size;
    }
  }
}

}  // namespace
}  // namespace tapdeck::store
#endif

#include "daemon/tls/record_buffers.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <cstring>
#include <set>
#include <thread>

namespace tapdeck::tls {
namespace {

// OpenSSL takes the functions only before its first allocation, so the test is a process of its own.
template <class Body>
void in_fresh_process(Body body) {
  EXPECT_EXIT(
      {
        if (!keep_record_buffers()) std::_Exit(2);
        std::_Exit(body() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

class RecordBuffers : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(RecordBuffers, ABlockOfARecordsSizeIsGivenOutAgainAtOnce) {
  in_fresh_process([] {
    void* first = OPENSSL_malloc(16704);
    OPENSSL_free(first);
    void* between = OPENSSL_malloc(64);
    void* second = OPENSSL_malloc(17736);
    std::memset(second, 1, 17736);
    const bool same = first == second;
    OPENSSL_free(second);
    OPENSSL_free(between);
    return same;
  });
}

TEST_F(RecordBuffers, ManyAtATimeAreAllDifferentAndAllFreed) {
  in_fresh_process([] {
    std::set<void*> blocks;
    for (int i = 0; i < 100; ++i) blocks.insert(OPENSSL_malloc(16704));
    const bool different = blocks.size() == 100;
    for (void* block : blocks) OPENSSL_free(block);
    return different;
  });
}

TEST_F(RecordBuffers, AThreadsBlocksEndWithIt) {
  in_fresh_process([] {
    std::thread([] { OPENSSL_free(OPENSSL_malloc(16704)); }).join();
    void* here = OPENSSL_malloc(16704);
    OPENSSL_free(OPENSSL_realloc(here, 100000));
    return true;
  });
}

}  // namespace
}  // namespace tapdeck::tls

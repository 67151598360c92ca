// keep_record_buffers(): OpenSSL's record buffers stay with the thread that freed them.
//
// An idle connection holds none (SSL_MODE_RELEASE_BUFFERS saves 35 KiB each), so a busy one takes and gives back 17 KiB
// at every record: beyond what glibc caches a thread, and each time other, colder memory. Nothing but the place of such
// blocks changes. Thread: call it once, before anything else of OpenSSL; afterwards each thread has its own few.
#pragma once

namespace tapdeck::tls {

// False: OpenSSL has allocated already, and everything stays with malloc.
bool keep_record_buffers();

}  // namespace tapdeck::tls

# Precompiled headers: most of a small file's compile time is the standard library, Asio and gmock. One set a kind of
# target, shared by all targets of that kind, which have to be compiled with the same options.
#
#   tapdeck_precompile(TARGET plain|asio)        a library
#   tapdeck_precompile(TARGET plain|asio TESTS)  a test executable: gmock too, and not optimised
#   tapdeck_precompile(TARGET plain|asio TESTS RIG HEADER)  the same with a set of its own: HEADER too, for tests that
#     nearly all include it
option(TAPDECK_PCH "use precompiled headers" ON)

set(TAPDECK_PCH_SOURCE ${CMAKE_CURRENT_LIST_DIR}/precompiled.cc)
# No time stamp inside: ccache takes them by content.
set(TAPDECK_PCH_OPTIONS "SHELL:-Xclang -fno-pch-timestamp")
# A header has the time at which Debian packed it: one of a newer package may be older than what was compiled of the last,
# which ninja does not notice and the compiler refuses. So another version is another command, and compiles anew.
file(STRINGS ${CMAKE_SOURCE_DIR}/.ci/packages header_packages REGEX "-dev$")
execute_process(COMMAND dpkg-query -W -f "\${Package}=\${Version} " ${header_packages}
  OUTPUT_VARIABLE header_versions ERROR_QUIET)
string(MD5 header_versions "${header_versions}")
list(APPEND TAPDECK_PCH_OPTIONS -DTAPDECK_HEADERS=${header_versions})

function(tapdeck_precompile target kind)
  if(NOT TAPDECK_PCH)
    return()
  endif()
  cmake_parse_arguments(P "TESTS" "RIG" "" ${ARGN})
  set(holder tapdeck_pch_${kind})
  if(P_TESTS)
    string(APPEND holder _tests)
  endif()
  if(NOT TARGET ${holder})
    set(headers ${CMAKE_SOURCE_DIR}/cmake/std.h)
    add_library(${holder} OBJECT ${TAPDECK_PCH_SOURCE})
    target_link_libraries(${holder} PRIVATE tapdeck_options)
    if(kind STREQUAL asio)
      set(headers ${CMAKE_SOURCE_DIR}/cmake/asio.h)
      target_link_libraries(${holder} PRIVATE tapdeck_asio PkgConfig::OPENSSL)
    endif()
    if(P_TESTS)
      list(APPEND headers <gtest/gtest.h> <gmock/gmock.h>)
      target_link_libraries(${holder} PRIVATE GTest::gmock)
      # Executables are -fPIE, and a precompiled header serves only what is compiled like it.
      set_target_properties(${holder} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${holder} PRIVATE -O0 -fPIE)
    else()
      target_link_libraries(${holder} PRIVATE tapdeck_profile)
    endif()
    target_compile_options(${holder} PRIVATE ${TAPDECK_PCH_OPTIONS})
    target_precompile_headers(${holder} PRIVATE ${headers})
  endif()
  target_compile_options(${target} PRIVATE ${TAPDECK_PCH_OPTIONS})
  if(P_RIG)
    target_precompile_headers(${target} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/asio.h <gtest/gtest.h> <gmock/gmock.h> ${P_RIG})
  else()
    target_precompile_headers(${target} REUSE_FROM ${holder})
  endif()
endfunction()

# Profile-guided optimisation: what is hot is laid out together and inlined, what is not is kept out of the way. The
# profile is in the repository (cmake/tapdeck.profdata), so a build needs nothing but the compiler; `make profile`
# records a new one. A function that has changed since is compiled as without a profile. See
# docs/decisions/0020-a-profile-in-the-repository.md.
#
# Libraries that exchanges run through link tapdeck_profile privately; others, and tests, know nothing of it.
set(TAPDECK_PROFILE use CACHE STRING "use: the recorded profile, generate: record one into the build directory, off")
set_property(CACHE TAPDECK_PROFILE PROPERTY STRINGS use generate off)
add_library(tapdeck_profile INTERFACE)
# Functions of one file are told apart by its name without directories: the profile is of this tree wherever it lies.
set(TAPDECK_PROFILE_NAMES "SHELL:-mllvm -static-func-full-module-prefix=false")

if(TAPDECK_PROFILE STREQUAL "generate")
  target_compile_options(tapdeck_profile INTERFACE -fprofile-generate=${CMAKE_BINARY_DIR}/profile ${TAPDECK_PROFILE_NAMES})
  target_link_options(tapdeck_profile INTERFACE -fprofile-generate=${CMAKE_BINARY_DIR}/profile)
elseif(TAPDECK_PROFILE STREQUAL "use" AND NOT TAPDECK_SANITIZE AND NOT TAPDECK_FUZZ)  # those compile other code
  # By a name of its content: the compiler does not name it among its dependencies, but another command compiles anew.
  file(MD5 ${CMAKE_CURRENT_LIST_DIR}/tapdeck.profdata content)
  set(TAPDECK_PROFILE_DATA ${CMAKE_BINARY_DIR}/profile-${content}.profdata)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/tapdeck.profdata ${TAPDECK_PROFILE_DATA} COPYONLY)
  # A section a function: the linker lays them out by who calls whom how often, which the profile knows.
  target_compile_options(tapdeck_profile INTERFACE -ffunction-sections -fprofile-use=${TAPDECK_PROFILE_DATA}
    ${TAPDECK_PROFILE_NAMES} -Wno-profile-instr-out-of-date -Wno-profile-instr-unprofiled -Wno-profile-instr-missing
    -Wno-backend-plugin)
endif()

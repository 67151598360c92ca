# tapdeck_revision: the commit that is built (daemon/base/revision.h). Git is asked at each build, and only the one small
# source it is written to is compiled again when the answer has changed.
#
# This file is also the script that asks: cmake -DSOURCE=... -DOUTPUT=... -P revision.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12
    OUTPUT_VARIABLE revision RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  # Without .git of its own the sources may lie in the clone of something else.
  if(failed OR NOT EXISTS ${SOURCE}/.git OR NOT revision MATCHES "^[-+./0-9A-Z_a-z]+$")
    set(revision unknown)
  endif()
  set(text "#include \"daemon/base/revision.h\"\n\nstd::string_view tapdeck::revision() {\n  return \"${revision}\";\n}\n")
  if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} before)
  endif()
  if(NOT text STREQUAL "${before}")
    file(WRITE ${OUTPUT} "${text}")
  endif()
  return()
endif()

set(revision_source ${CMAKE_BINARY_DIR}/generated/revision.cc)
add_custom_target(tapdeck_ask_revision
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${revision_source} -P ${CMAKE_CURRENT_LIST_FILE}
  BYPRODUCTS ${revision_source} COMMENT "")
add_library(tapdeck_revision STATIC ${revision_source})
target_link_libraries(tapdeck_revision PUBLIC tapdeck_options)
add_dependencies(tapdeck_revision tapdeck_ask_revision)

# Several sources compiled as one: a coroutine's frames and Asio's templates are instantiated once for four files
# instead of four times, which is a third of their compile time. Sources of one target therefore share their unnamed
# namespaces: two that name the same thing do not compile together.
option(TAPDECK_TOGETHER "compile several sources as one where it pays" ON)

# For tests, and for folders that are not hot: four at a time as they come.
function(tapdeck_together target)
  if(TAPDECK_TOGETHER)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()

# For hot folders, whose functions the recorded profile (cmake/profile.cmake) knows by the file they are compiled in:
# one group a prefix (a regular expression), named by it, so that a new source leaves the other groups as they are. A
# source without a group is compiled alone.
function(tapdeck_together_by_prefix target)
  if(NOT TAPDECK_TOGETHER)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    foreach(prefix ${ARGN})
      if(name MATCHES "^${prefix}")
        string(MAKE_C_IDENTIFIER ${prefix} group)
        set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${target}_${group})
        break()
      endif()
    endforeach()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# Several sources compiled as one: a coroutine's frames and Asio's templates are instantiated once for four files instead
# of four times, which is a third of their compile time. For tests, and for folders that are not hot: where the recorded
# profile matters (cmake/profile.cmake) it knows functions by the file they are compiled in.
# Sources of one target therefore share their unnamed namespaces: two that name the same thing do not compile together.
option(TAPDECK_TOGETHER "compile several sources as one where it pays" ON)

function(tapdeck_together target)
  if(TAPDECK_TOGETHER)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()

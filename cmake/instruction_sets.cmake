# SPDX-License-Identifier: Apache-2.0
# gradstep_add_isa_sources(target file...) compiles each file once per x86-64 level (v2, v3, v4) with
# -DGS_ISA=<level>; the program picks a level when it starts (cpp/kernels/instruction_set.h).
# Other machines, and GRADSTEP_ISA=GENERIC (sanitizers, quick builds), compile it once.
include_guard()
set(GRADSTEP_ISA "ALL" CACHE STRING "Instruction sets of the CPU kernels: ALL or GENERIC")
option(GRADSTEP_WERROR "Treat warnings as errors" OFF)

set(GRADSTEP_COMPILE_OPTIONS -O3 -fwrapv -fno-math-errno -fno-trapping-math -ffp-contract=fast -fvisibility=hidden
    -Wall -Wextra)
if(GRADSTEP_SANITIZE)
  list(APPEND GRADSTEP_COMPILE_OPTIONS -O1)  # half the time to compile; the checks find the same
endif()
if(GRADSTEP_WERROR)
  list(APPEND GRADSTEP_COMPILE_OPTIONS -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 is wrong about std::string's operator+ (GCC bug 105651) and about std::sort of short arrays.
    list(APPEND GRADSTEP_COMPILE_OPTIONS -Wno-error=restrict -Wno-error=array-bounds)
  endif()
endif()

set(_gradstep_isa_flags_v2 -march=x86-64-v2)
set(_gradstep_isa_flags_v3 -march=x86-64-v3)
set(_gradstep_isa_flags_v4 -march=x86-64-v4 -mprefer-vector-width=512)
if(GRADSTEP_ISA STREQUAL "ALL" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(GRADSTEP_ISA_LEVELS v2 v3 v4)
else()
  set(GRADSTEP_ISA_LEVELS generic)
endif()

# Common flags and C++20 for one target.
function(gradstep_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS ON)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${GRADSTEP_COMPILE_OPTIONS}>)
  if(GRADSTEP_ISA_LEVELS STREQUAL "generic")
    target_compile_definitions(${target} PUBLIC GS_SINGLE_ISA)
  endif()
endfunction()

# Call it after the target's include directories, definitions and linked libraries are set. The order of the
# objects matters, see CMakeLists.txt.
function(gradstep_add_isa_sources target)
  foreach(level IN LISTS GRADSTEP_ISA_LEVELS)
    set(objects ${target}_${level})
    add_library(${objects} OBJECT ${ARGN})
    gradstep_compile_options(${objects})
    target_compile_definitions(${objects} PRIVATE GS_ISA=${level}
                               $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
    target_include_directories(${objects} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
    target_compile_options(${objects} PRIVATE ${_gradstep_isa_flags_${level}})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()

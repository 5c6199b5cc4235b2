# SPDX-License-Identifier: Apache-2.0
# The CUDA part: libgradstep_cuda.so, a plug-in that the core loads at the first use of CUDA
# (cpp/core/cuda_api.cpp). It needs nvcc to build, and nothing but the driver to load: cuBLASLt, cuDNN and
# NVRTC are opened at first need, with declarations of our own (cuda/cublaslt.h, cuda/cudnn.h).
#   GRADSTEP_CUDA=AUTO|ON|OFF             AUTO builds it where nvcc is found
#   GRADSTEP_CUDA_ARCHITECTURES=80;90       machine code for each, and PTX of the first for all newer ones.
#                                           One (90) builds in half of the time.
include_guard()
set(GRADSTEP_CUDA "AUTO" CACHE STRING "Build the CUDA part: AUTO, ON or OFF")
set(GRADSTEP_CUDA_ARCHITECTURES "80;90" CACHE STRING "CUDA architectures, the oldest first")

# The headers that kernels compiled at run time include, as strings in cuda/runtime_headers.h (cuda/nvrtc.cu).
set(_gradstep_runtime_headers cpp/fn/config.h cpp/fn/numbers.h cpp/fn/math_cuda.h cpp/fn/math.h cpp/fn/dual.h
    cpp/fn/traits.h cpp/fn/unary.h cpp/fn/pointwise.h cpp/fn/activation.h cpp/fn/grad.h
    cuda/strides.h cuda/fused_kernel.h)
list(TRANSFORM _gradstep_runtime_headers PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE _gradstep_runtime_files)
list(JOIN _gradstep_runtime_headers "," _gradstep_runtime_list)
set(_gradstep_generated ${CMAKE_CURRENT_BINARY_DIR}/generated)
add_custom_command(
  OUTPUT ${_gradstep_generated}/cuda/runtime_headers.h
  COMMAND ${CMAKE_COMMAND} -DOUT=${_gradstep_generated}/cuda/runtime_headers.h -DROOT=${CMAKE_CURRENT_SOURCE_DIR}
          -DFILES=${_gradstep_runtime_list} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${_gradstep_runtime_files} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake)
add_custom_target(gradstep_runtime_headers DEPENDS ${_gradstep_generated}/cuda/runtime_headers.h)
function(gradstep_use_runtime_headers target)
  add_dependencies(${target} gradstep_runtime_headers)
  target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/generated)
endfunction()

set(_gradstep_cuda "off")
if(NOT GRADSTEP_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(_gradstep_cuda "on")
  elseif(GRADSTEP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "GRADSTEP_CUDA=ON, but nvcc was not found: put it into PATH or set CUDACXX")
  else()
    set(_gradstep_cuda "not built: nvcc was not found (put it into PATH or set CUDACXX)")
  endif()
endif()

if(_gradstep_cuda STREQUAL "on")
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_FLAGS_RELEASE "-DNDEBUG")
  if(GRADSTEP_CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${GRADSTEP_CCACHE})
  endif()
  enable_language(CUDA)
  set(_gradstep_cuda "nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${GRADSTEP_CUDA_ARCHITECTURES}")

  # All machine code from the oldest architecture's intermediate code: nothing here asks for more, and a front end
  # for each would take a third longer (map_binary.cu: 159 s in place of 121 s).
  list(GET GRADSTEP_CUDA_ARCHITECTURES 0 _gradstep_oldest)
  list(TRANSFORM GRADSTEP_CUDA_ARCHITECTURES PREPEND sm_ OUTPUT_VARIABLE _gradstep_machines)
  list(JOIN _gradstep_machines "," _gradstep_machines)
  set(_gradstep_code "arch=compute_${_gradstep_oldest},code=[${_gradstep_machines},compute_${_gradstep_oldest}]")

  file(GLOB GRADSTEP_CUDA_SOURCES CONFIGURE_DEPENDS cuda/*.cu)
  add_library(gradstep_cuda MODULE ${GRADSTEP_CUDA_SOURCES})
  target_include_directories(gradstep_cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/cpp)
  target_compile_features(gradstep_cuda PRIVATE cuda_std_20)
  target_compile_definitions(gradstep_cuda PRIVATE GS_CUDA_VERSION="${CMAKE_CUDA_COMPILER_VERSION}")
  string(REGEX MATCH "^[0-9]+" _gradstep_major "${CMAKE_CUDA_COMPILER_VERSION}")
  target_compile_definitions(gradstep_cuda PRIVATE
                             GS_NVRTC_LIBRARY="${CMAKE_CUDA_COMPILER_TOOLKIT_ROOT}/lib64/libnvrtc.so.${_gradstep_major}")
  target_compile_options(gradstep_cuda PRIVATE -O3 --generate-code=${_gradstep_code} --expt-relaxed-constexpr --extended-lambda
                         -Xfatbin=-compress-all -Xcompiler=-fvisibility=hidden,-Wall,-Wextra,-Wno-unused-function)
  if(GRADSTEP_WERROR)
    target_compile_options(gradstep_cuda PRIVATE -Werror=all-warnings -Xcompiler=-Werror)
  endif()
  gradstep_use_runtime_headers(gradstep_cuda)
  # A map has the same bits whatever stands around it in a kernel: see Note [Compiling at run time] in cuda/nvrtc.cu.
  set_source_files_properties(cuda/map.cu cuda/map_activation.cu cuda/map_binary.cu cuda/map_ternary.cu cuda/map_unary.cu
                              PROPERTIES COMPILE_OPTIONS -fmad=false)
  set_target_properties(gradstep_cuda PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  target_link_libraries(gradstep_cuda PRIVATE dl)
  install(TARGETS gradstep_cuda DESTINATION gradstep)
endif()
message(STATUS "gradstep CUDA part: ${_gradstep_cuda}")

# SPDX-License-Identifier: Apache-2.0
# Installs gradstep_core for C++ programs (GRADSTEP_NATIVE_INSTALL=ON): headers, the static library, the maths
# libraries that it was built with, and a CMake package:
#   find_package(gradstep REQUIRED)
#   target_link_libraries(my_program PRIVATE gradstep::gradstep)      then #include "ops/linalg.h"
include_guard()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(_gradstep_package ${CMAKE_INSTALL_LIBDIR}/cmake/gradstep)

set_target_properties(gradstep_core PROPERTIES EXPORT_NAME core)
install(TARGETS gradstep_core EXPORT gradstepTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT gradstepTargets NAMESPACE gradstep:: DESTINATION ${_gradstep_package})
foreach(layer core fn graph ops optim)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/${layer} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradstep
          FILES_MATCHING PATTERN "*.h")
endforeach()

# One copy of the maths library beside the package; the program's build tree gets the path to it.
set(GRADSTEP_INSTALLED_LIBRARIES "")
set(GRADSTEP_SYSTEM_LIBRARIES "")
if(TARGET gradstep::dnnl)
  get_target_property(path gradstep::dnnl IMPORTED_LOCATION)
  get_filename_component(name "${path}" NAME)
  install(FILES "${path}" DESTINATION ${CMAKE_INSTALL_LIBDIR}/gradstep)
  list(APPEND GRADSTEP_INSTALLED_LIBRARIES ${name})
  get_target_property(GRADSTEP_SYSTEM_LIBRARIES gradstep::dnnl INTERFACE_LINK_LIBRARIES)
endif()

set(GRADSTEP_LIBRARY_DIR ${CMAKE_INSTALL_LIBDIR}/gradstep)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/gradstepConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/gradstepConfig.cmake INSTALL_DESTINATION ${_gradstep_package}
                              PATH_VARS GRADSTEP_LIBRARY_DIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradstepConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gradstepConfig.cmake ${PROJECT_BINARY_DIR}/gradstepConfigVersion.cmake
        DESTINATION ${_gradstep_package})

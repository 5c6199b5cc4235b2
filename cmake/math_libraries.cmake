# SPDX-License-Identifier: Apache-2.0
# Finds oneDNN in the Python package onednn-cpu-gomp (headers from onednn-devel-cpu-gomp) of Python_EXECUTABLE;
# this also works in pip's isolated build environment.
#   gradstep::dnnl            imported target, defined if found; it carries GS_WITH_ONEDNN
#   gradstep_bundle(target)   installs one copy into gradstep/.libs, rpath $ORIGIN/.libs
# GRADSTEP_ONEDNN=OFF leaves it out: gradstep's own kernels do the same work.
include_guard()
set(GRADSTEP_ONEDNN "AUTO" CACHE STRING "Use oneDNN: AUTO or OFF")

# Runs a piece of Python that prints a list of paths; empty if it fails or a path does not exist.
function(_gradstep_ask_python result code)
  set(${result} "" PARENT_SCOPE)
  if(NOT Python_EXECUTABLE)
    return()
  endif()
  execute_process(COMMAND "${Python_EXECUTABLE}" -c "${code}" OUTPUT_VARIABLE out ERROR_QUIET
                  RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    return()
  endif()
  string(REPLACE "\n" ";" out "${out}")
  foreach(path IN LISTS out)
    if(NOT EXISTS "${path}")
      return()
    endif()
  endforeach()
  set(${result} "${out}" PARENT_SCOPE)
endfunction()

set(_gradstep_dnnl_found "not found")
if(GRADSTEP_ONEDNN STREQUAL "OFF")
  set(_gradstep_dnnl_found "off")
elseif(NOT TARGET gradstep::dnnl)
  # The packages' own lists of files give the right place in environments, --user and isolated builds alike.
  _gradstep_ask_python(_gradstep_dnnl_paths [=[
import os
from importlib.metadata import files
def find(package, end):
    return next(os.path.abspath(f.locate()) for f in files(package) if str(f).endswith(end))
print(os.path.dirname(find("onednn-devel-cpu-gomp", "include/dnnl.h")))
print(find("onednn-cpu-gomp", "/libdnnl.so.3"))
]=])
  if(_gradstep_dnnl_paths)
    list(GET _gradstep_dnnl_paths 0 _gradstep_include)
    list(GET _gradstep_dnnl_paths 1 _gradstep_library)
    add_library(gradstep::dnnl SHARED IMPORTED GLOBAL)
    set_target_properties(gradstep::dnnl PROPERTIES IMPORTED_LOCATION "${_gradstep_library}"
                          INTERFACE_INCLUDE_DIRECTORIES "${_gradstep_include}"
                          INTERFACE_COMPILE_DEFINITIONS GS_WITH_ONEDNN
                          INTERFACE_LINK_LIBRARIES gomp)  # its thread count is set around each call
  endif()
endif()
if(TARGET gradstep::dnnl)
  get_target_property(_gradstep_library gradstep::dnnl IMPORTED_LOCATION)
  set(_gradstep_dnnl_found "${_gradstep_library}")
endif()
message(STATUS "gradstep maths: oneDNN ${_gradstep_dnnl_found}")

# The extension module lives in the folder gradstep/; the build tree finds the library where it is.
function(gradstep_bundle target)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN/.libs")
  if(TARGET gradstep::dnnl)
    get_target_property(path gradstep::dnnl IMPORTED_LOCATION)
    # The name that the loader asks for is the soname, which the package also uses as file name.
    install(FILES "${path}" DESTINATION gradstep/.libs
            PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endif()
endfunction()

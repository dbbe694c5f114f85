# What an installation consists of, and the umbrella header.
#
# The public headers are the lists WEFT_*_HEADERS.  They include each other by relative paths, so
# that the same text works in this tree and below include/weft, whatever folders named crdt, store
# or net an application has itself.
include(CMakePackageConfigHelpers)

set(WEFT_HEADERS ${WEFT_CRDT_HEADERS} ${WEFT_STORE_HEADERS} ${WEFT_NET_HEADERS})
set(WEFT_INCLUDES "")
foreach(header ${WEFT_HEADERS})
  string(APPEND WEFT_INCLUDES "#include \"${header}\"\n")
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weft/${folder} COMPONENT headers)
endforeach()
configure_file(cmake/weft.h.in ${PROJECT_BINARY_DIR}/package/weft.h @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/weft.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weft COMPONENT headers)

# Unstable, and so no part of weft.h.
install(FILES sim/sim.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weft/sim COMPONENT headers)

# The two exports stand apart, because only the static library makes its user find what weft uses.
set(WEFT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
foreach(kind shared static)
  target_include_directories(weft_${kind} INTERFACE
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  if(kind STREQUAL static)
    install(TARGETS weft_simulator EXPORT weft_static
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
  install(TARGETS weft_${kind} EXPORT weft_${kind}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT weft_${kind} NAMESPACE weft:: FILE weft-${kind}.cmake
    DESTINATION ${WEFT_PACKAGE_DIR})
endforeach()
set_target_properties(weft_shared PROPERTIES EXPORT_NAME weft)
set_target_properties(weft_static PROPERTIES EXPORT_NAME static)

configure_package_config_file(cmake/weft-config.cmake.in
  ${PROJECT_BINARY_DIR}/package/weft-config.cmake INSTALL_DESTINATION ${WEFT_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/weft-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/weft-config.cmake
  ${PROJECT_BINARY_DIR}/package/weft-config-version.cmake DESTINATION ${WEFT_PACKAGE_DIR})

# weft.pc finds its prefix from where it lies: an installation may be moved.
file(RELATIVE_PATH WEFT_PC_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/weft.pc.in ${PROJECT_BINARY_DIR}/package/weft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/weft.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

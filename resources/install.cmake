# cmake --install: the program, the two libraries, headers for plug-ins, graphs; find_package(RewardLoom).
include(CMakePackageConfigHelpers)
install(TARGETS rewardloom rewardloom_graph rewardloom_engine EXPORT RewardLoomTargets
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY engine DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rewardloom FILES_MATCHING PATTERN "*.h")
install(DIRECTORY nodes DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rewardloom FILES_MATCHING PATTERN "*.h")
install(DIRECTORY graphs DESTINATION ${CMAKE_INSTALL_DATADIR}/rewardloom)
install(DIRECTORY resources/models resources/data DESTINATION ${CMAKE_INSTALL_DATADIR}/rewardloom/resources)
install(EXPORT RewardLoomTargets NAMESPACE RewardLoom:: FILE RewardLoomTargets.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/RewardLoom)
set_target_properties(rewardloom_graph PROPERTIES EXPORT_NAME graph)
set_target_properties(rewardloom_engine PROPERTIES EXPORT_NAME engine)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/RewardLoomConfig.cmake.in
  ${CMAKE_BINARY_DIR}/RewardLoomConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/RewardLoom)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/RewardLoomConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/RewardLoomConfig.cmake ${CMAKE_BINARY_DIR}/RewardLoomConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/RewardLoom)
if(TARGET rewardloom_bench)
  install(TARGETS rewardloom_bench RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/rewardloom)
endif()

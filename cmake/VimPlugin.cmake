# vim_add_plugin(NAME [NO_INSTALL] SOURCES ... LIBRARIES ...): a plugin, NAME.so in build/plugins. It sees
# <vim/...> and its own libraries, never core/. Code that its unit tests share with it goes into
# an object library of its own.
set(VIM_PLUGIN_OUTPUT ${CMAKE_BINARY_DIR}/plugins)
set(VIM_PLUGIN_DIR ${CMAKE_INSTALL_FULL_LIBDIR}/vimd/plugins)

function(vim_add_plugin name)
    cmake_parse_arguments(PARSE_ARGV 1 PLUGIN "NO_INSTALL" "" "SOURCES;LIBRARIES")
    add_library(${name} MODULE ${PLUGIN_SOURCES})
    set_target_properties(${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${VIM_PLUGIN_OUTPUT})
    target_link_libraries(${name} PRIVATE vim_headers vim_flags ${PLUGIN_LIBRARIES} Threads::Threads)
    if(NOT VIMD_SANITIZE)
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
    if(NOT PLUGIN_NO_INSTALL)
        install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/vimd/plugins)
    endif()
    set_property(GLOBAL APPEND PROPERTY VIM_PLUGINS ${name})
endfunction()

# vim_flags: what every target of the project is compiled and linked with.
add_library(vim_flags INTERFACE)

target_compile_options(vim_flags INTERFACE
    -Wall -Wextra -Wpointer-arith -Wformat=2 -Wundef -Wvla
    $<$<COMPILE_LANGUAGE:C>:-Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings>
    -fstack-protector-strong)
if(VIMD_WERROR)
    target_compile_options(vim_flags INTERFACE -Werror)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    target_compile_options(vim_flags INTERFACE -Wno-gnu-statement-expression)
endif()

target_compile_definitions(vim_flags INTERFACE _GNU_SOURCE VIMD_VERSION="${PROJECT_VERSION}")
target_link_options(vim_flags INTERFACE -Wl,-z,relro,-z,now)

# A sanitizer's runtime may be an archive, whose malloc() the C library has to see.
if(NOT VIMD_SANITIZE)
    target_link_options(vim_flags INTERFACE -Wl,--exclude-libs,ALL)
endif()

if(VIMD_SANITIZE)
    target_compile_options(vim_flags INTERFACE -fsanitize=${VIMD_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(vim_flags INTERFACE -fsanitize=${VIMD_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_options(vim_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
        -fstack-clash-protection -fcf-protection)
endif()
if(VIMD_FUZZ)
    target_compile_options(vim_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# vim_floor_headers(NAME): build/floors/NAME holds a link to this one folder, so that a target that
# names a floor sees its headers, as "NAME/file.h", and no other's.
function(vim_floor_headers name)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/floors/${name})
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_BINARY_DIR}/floors/${name}/${name} SYMBOLIC)
endfunction()

# vim_add_floor(NAME SOURCES ... USES ...): one floor of core/, a static library whose headers
# only those see that name it. A floor's headers are included as "FLOOR/file.h".
function(vim_add_floor name)
    cmake_parse_arguments(PARSE_ARGV 1 FLOOR "" "" "SOURCES;USES;PRIVATE")
    add_library(core_${name} STATIC ${FLOOR_SOURCES})
    vim_floor_headers(${name})
    target_include_directories(core_${name} PUBLIC ${CMAKE_BINARY_DIR}/floors/${name})
    target_link_libraries(core_${name} PUBLIC vim_headers ${FLOOR_USES} Threads::Threads PRIVATE vim_flags ${FLOOR_PRIVATE})
endfunction()

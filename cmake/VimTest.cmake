# vim_bound_tests(SECONDS TEST...): what the tests may take before ctest ends them, VIMD_TEST_TIMEOUT_FACTOR times
# longer where everything is slower. A property, since `ctest --timeout` is for tests without one.
set(VIMD_TEST_TIMEOUT_FACTOR 1 CACHE STRING "how many times longer tests may take before they are ended")
function(vim_bound_tests seconds)
    math(EXPR bound "${seconds} * ${VIMD_TEST_TIMEOUT_FACTOR}")
    set_tests_properties(${ARGN} PROPERTIES TIMEOUT ${bound})
endfunction()

# vim_add_test(NAME SOURCES ... USES ... [LABEL unit] [SERVERS ...]): a cmocka program, run by ctest
# under LABEL; beside private SERVERS of its own (tests/servers/with), skipped where they are not installed
# and labelled `served` too.
function(vim_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 TEST "" "LABEL" "SOURCES;USES;SERVERS")
    if(NOT TEST_LABEL)
        set(TEST_LABEL unit)
    endif()
    add_executable(${name} ${TEST_SOURCES})
    target_link_libraries(${name} PRIVATE vim_flags ${TEST_USES} PkgConfig::CMOCKA)
    target_compile_definitions(${name} PRIVATE
        TEST_PLUGIN_DIR="${CMAKE_BINARY_DIR}/plugins" TEST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    if(TEST_SERVERS)
        add_test(NAME ${name} COMMAND
            ${CMAKE_SOURCE_DIR}/tests/servers/with ${TEST_SERVERS} -- $<TARGET_FILE:${name}>)
        set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
        list(APPEND TEST_LABEL served)
    else()
        add_test(NAME ${name} COMMAND ${name})
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABEL}")
    vim_bound_tests(900 ${name})
endfunction()

# vim_add_fuzzer(NAME SOURCES ... USES ...): LLVMFuzzerTestOneInput in SOURCES. With the preset
# fuzz it becomes a libFuzzer; otherwise a test that runs it over tests/fuzz/corpus/NAME.
function(vim_add_fuzzer name)
    cmake_parse_arguments(PARSE_ARGV 1 FUZZER "" "" "SOURCES;USES")
    add_executable(${name} ${FUZZER_SOURCES})
    target_link_libraries(${name} PRIVATE vim_flags ${FUZZER_USES})
    if(VIMD_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/run_corpus.c)
        add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
        set_tests_properties(${name} PROPERTIES LABELS fuzz)
        vim_bound_tests(300 ${name})
    endif()
endfunction()

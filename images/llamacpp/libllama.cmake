# Included by CMake right after the binding's own project() call (CMAKE_PROJECT_llama_cpp_INCLUDE).
# Why: the binding's CMakeLists forces llama.cpp's "common" library on, which doubles the compile and is never loaded.
# So LLAMA_BUILD=OFF there, and libllama with its ggml parts alone here.
set(BUILD_SHARED_LIBS ON)
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_SERVER OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TESTS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TOOLS OFF CACHE BOOL "" FORCE)
set(LLAMA_CURL OFF CACHE BOOL "" FORCE)
set(LLAMA_OPENSSL OFF CACHE BOOL "" FORCE)

# Assertions carry source paths, and the unpacked source lies in a folder with a random name.
add_compile_options(-ffile-prefix-map=${CMAKE_CURRENT_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=build)

add_subdirectory(${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp EXCLUDE_FROM_ALL)

add_custom_target(engine ALL DEPENDS llama)
foreach(part ggml-base ggml-cpu ggml llama)
    # One plain file per library: a wheel cannot hold the version symlinks and would store each library thrice.
    set_property(TARGET ${part} PROPERTY VERSION)
    set_property(TARGET ${part} PROPERTY SOVERSION)
    set_target_properties(${part} PROPERTIES INSTALL_RPATH "$ORIGIN" BUILD_WITH_INSTALL_RPATH TRUE)
    install(FILES $<TARGET_FILE:${part}> DESTINATION ${SKBUILD_PLATLIB_DIR}/llama_cpp/lib)
endforeach()

# Sets LLAMA_CPP_DIR to a llama.cpp source tree.
#
# LLAMA_CPP_SOURCE_DIR, when given, wins. Otherwise the sdist named in native/llama.cpp.lock is fetched by pip,
# checked against its sha256 and unpacked into a cache folder that git ignores; a folder named after the lock's
# hash is used again by later builds.

function(luci_find_llama_cpp lock_file cache_dir)
    if(LLAMA_CPP_SOURCE_DIR)
        if(NOT EXISTS "${LLAMA_CPP_SOURCE_DIR}/include/llama.h")
            message(FATAL_ERROR "LLAMA_CPP_SOURCE_DIR=${LLAMA_CPP_SOURCE_DIR} holds no include/llama.h; name the root of a llama.cpp checkout.")
        endif()
        set(LLAMA_CPP_DIR "${LLAMA_CPP_SOURCE_DIR}" PARENT_SCOPE)
        return()
    endif()

    file(STRINGS "${lock_file}" lock_line REGEX "^llama-cpp-python==")
    string(REGEX MATCH "sha256:([0-9a-f]+)" _ "${lock_line}")
    string(SUBSTRING "${CMAKE_MATCH_1}" 0 16 lock_id)
    set(tree "${cache_dir}/${lock_id}")
    set(source_dir "${tree}/vendor/llama.cpp")
    if(NOT EXISTS "${tree}/.complete")
        message(STATUS "Fetching the llama.cpp source pinned in ${lock_file}")
        set(download_dir "${cache_dir}/download-${lock_id}")
        file(REMOVE_RECURSE "${download_dir}" "${tree}")
        file(MAKE_DIRECTORY "${download_dir}")
        execute_process(
            COMMAND "${Python_EXECUTABLE}" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all:
                    --no-build-isolation --require-hashes -r "${lock_file}" -d "${download_dir}"
            RESULT_VARIABLE failed
            ERROR_VARIABLE reason)
        file(GLOB archive "${download_dir}/*.tar.gz")
        if(NOT archive)
            message(FATAL_ERROR "pip could not fetch the pinned llama.cpp source: ${reason}\nCheck the network, or set LLAMA_CPP_SOURCE_DIR to a checkout.")
        endif()
        file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${download_dir}")
        file(GLOB unpacked LIST_DIRECTORIES true "${download_dir}/llama_cpp_python-*")
        list(FILTER unpacked EXCLUDE REGEX "\\.tar\\.gz$")
        file(RENAME "${unpacked}" "${tree}")
        file(TOUCH "${tree}/.complete")
        file(REMOVE_RECURSE "${download_dir}")
    endif()
    set(LLAMA_CPP_DIR "${source_dir}" PARENT_SCOPE)
endfunction()

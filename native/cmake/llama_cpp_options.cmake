# How the pinned llama.cpp is built: static, no network at build time, no process spawning, nothing but what luci uses.

set(BUILD_SHARED_LIBS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TESTS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_APP OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_UI OFF CACHE BOOL "" FORCE)
set(LLAMA_USE_PREBUILT_UI OFF CACHE BOOL "" FORCE)
set(LLAMA_TOOLS_INSTALL OFF CACHE BOOL "" FORCE)
set(LLAMA_OPENSSL OFF CACHE BOOL "" FORCE)
set(LLAMA_SUBPROCESS OFF CACHE BOOL "" FORCE)
set(LLAMA_LLGUIDANCE OFF CACHE BOOL "" FORCE)
set(GGML_OPENMP_FETCH OFF CACHE BOOL "" FORCE)
# A model may be spread over machines, where a person asks for it. Only sockets: RDMA would link another library.
set(GGML_RPC ON CACHE BOOL "" FORCE)
set(GGML_RPC_RDMA OFF CACHE BOOL "" FORCE)
set(GGML_CPU_KLEIDIAI OFF CACHE BOOL "" FORCE)
# The compiler launcher is set once for the whole project in the top CMakeLists.txt.
set(GGML_CCACHE OFF CACHE BOOL "" FORCE)
# ggml turns this off by itself when SOURCE_DATE_EPOCH is set; a local build must use the machine's own instructions.
option(GGML_NATIVE "Build for this machine's CPU" ON)
# Images and sound (tools/mtmd). Video would start ffmpeg, and nothing here starts other programs.
set(LLAMA_BUILD_MTMD ON CACHE BOOL "" FORCE)
set(MTMD_VIDEO OFF CACHE BOOL "" FORCE)
# Without these two, llama.cpp's build asks git for the commit of the surrounding repository.
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT "0c1e57098")

# The C++ tests compare with llama-quantize; tools that nothing depends on are not built.
if(LUCI_BUILD_PEERS OR LUCI_BUILD_TESTS)
    set(LLAMA_BUILD_TOOLS ON CACHE BOOL "" FORCE)
else()
    set(LLAMA_BUILD_TOOLS OFF CACHE BOOL "" FORCE)
endif()
set(LLAMA_BUILD_SERVER ${LUCI_BUILD_PEERS} CACHE BOOL "" FORCE)

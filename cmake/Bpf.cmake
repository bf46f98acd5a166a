# bpf_skeleton(TARGET SOURCE NAME): compiles a CO-RE program once with clang and embeds it as NAME.skel.h.
# The object runs on other kernels as it is: field offsets are relocated at load time against the running kernel's BTF.
find_program(CLANG clang REQUIRED)
find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)

function(bpf_skeleton target source name)
  set(obj ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skel ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(arch arm64)
  else()
    set(arch x86)
  endif()
  get_filename_component(dir ${source} DIRECTORY)
  file(GLOB headers CONFIGURE_DEPENDS ${dir}/*.h)
  add_custom_command(
    OUTPUT ${skel}
    COMMAND ${CLANG} -target bpf -mcpu=v3 -D__TARGET_ARCH_${arch} -O2 -g -Wall -idirafter ${CMAKE_SYSROOT}/usr/include/${CMAKE_C_LIBRARY_ARCHITECTURE} -I${CMAKE_SOURCE_DIR} -c ${source} -o ${obj}
    COMMAND ${BPFTOOL} gen skeleton ${obj} name ${name} > ${skel}.tmp
    COMMAND ${CMAKE_COMMAND} -E rename ${skel}.tmp ${skel}
    DEPENDS ${source} ${headers}
    COMMENT "BPF skeleton ${name}"
    VERBATIM)
  add_custom_target(${name}_skel DEPENDS ${skel})
  add_dependencies(${target} ${name}_skel)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()

"""How the C project is built."""

MAKE = """CC ?= cc
CFLAGS ?= -O3
SOURCES = main.c model.c kernels.c weights.c golden.c

@NAME@: $(SOURCES) model.h kernels.h fixed.h weights.h golden.h
\t$(CC) -std=c99 -Wall -Wextra $(CFLAGS) -o $@ $(SOURCES)

check: @NAME@
\t./@NAME@

clean:
\trm -f @NAME@

.PHONY: check clean
"""

CMAKE = """cmake_minimum_required(VERSION 3.10)
project(@NAME@ C)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)

add_library(@NAME@_model STATIC model.c kernels.c weights.c)
target_include_directories(@NAME@_model PUBLIC .)

add_executable(@NAME@ main.c golden.c)
target_link_libraries(@NAME@ @NAME@_model)

enable_testing()
add_test(NAME golden COMMAND @NAME@)
"""

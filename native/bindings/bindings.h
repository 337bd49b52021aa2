// One registration function per topic; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

void register_devices(pybind11::module_ & m);
void register_engine(pybind11::module_ & m);
void register_validate(pybind11::module_ & m);
void register_memory(pybind11::module_ & m);
void register_quantize(pybind11::module_ & m);
void register_text_score(pybind11::module_ & m);

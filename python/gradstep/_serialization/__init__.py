# SPDX-License-Identifier: Apache-2.0
"""The parts of gradstep.serialization: names and storages, writing, reading, safetensors, atomic files."""

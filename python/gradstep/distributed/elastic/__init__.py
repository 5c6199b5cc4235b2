# SPDX-License-Identifier: Apache-2.0
"""What torchrun's scripts import."""

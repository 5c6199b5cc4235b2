# SPDX-License-Identifier: Apache-2.0
"""Nothing: the exporter's functions are not there."""

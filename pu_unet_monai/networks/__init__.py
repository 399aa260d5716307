"""Networks and their building blocks."""

from __future__ import annotations

from pu_unet_monai.networks.registry import create_network, list_networks, network_options
from pu_unet_monai.vector_math import settle_vector_math

__all__ = ["create_network", "list_networks", "network_options"]

settle_vector_math()  # before threads of a network or of a dataset do

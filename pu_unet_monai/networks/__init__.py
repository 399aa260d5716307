"""Networks and their building blocks."""

from __future__ import annotations

from pu_unet_monai.networks.registry import create_network, list_networks, network_options

__all__ = ["create_network", "list_networks", "network_options"]

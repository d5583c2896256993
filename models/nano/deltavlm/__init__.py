"""The DeltaVLM architecture in PyTorch, with the published parameter names."""

from .config import Config
from .model import DeltaVLM

__all__ = ["Config", "DeltaVLM"]

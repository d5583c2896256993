"""Dimensions of the nano model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    image_size: int = 120
    patch_size: int = 8
    vision_width: int = 128
    vision_depth: int = 5
    vision_heads: int = 4
    vision_mlp: int = 512

    queries: int = 16
    qformer_width: int = 192
    qformer_depth: int = 4
    qformer_heads: int = 6
    qformer_mlp: int = 512
    bert_vocabulary: int = 555       # vocab.txt and [DEC]
    bert_positions: int = 128

    llm_width: int = 192
    llm_depth: int = 3
    llm_heads: int = 6
    llm_mlp: int = 512
    llm_vocabulary: int = 1024
    llm_positions: int = 512

    @property
    def grid(self):
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self):
        """Vision tokens of one picture, the class token included."""
        return self.grid**2 + 1

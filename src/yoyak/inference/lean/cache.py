"""The self-attention cache of beams: keys and values stay where they were written, and a mask says which beam sees which."""

import math

import torch

STEPS_BETWEEN_CLEANINGS = 16
SHARE_OF_CLOSED = 0.125  # of the dialogues of a batch that have ended, from which on they leave it


class BeamCache:
    """Keys and values of all beams of a batch.

    A dialogue has a pool of slots, one for each token that one of its beams wrote. When beams are reordered, only the mask
    moves. From time to time `keep` removes the slots that no beam sees any more: beams mostly have all but their last tokens
    in common, so that the pool is hardly longer than one beam.
    """

    def __init__(self, *, layers: int, dialogues: int, heads: int, head_size: int) -> None:
        self.shape = heads, head_size
        self.keys = [torch.empty(dialogues, heads, 0, head_size) for _ in range(layers)]
        self.values = [torch.empty(dialogues, heads, 0, head_size) for _ in range(layers)]
        self.used = 0  # slots in use of those that are allocated
        self.bias = torch.zeros(dialogues, 1, 0)  # (dialogues, beams, used): 0 where a beam sees a slot, or else -inf

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2]

    def select(self, parents: torch.Tensor) -> None:
        """Reorder the beams.

        Args:
            parents: (dialogues, new beams); the old beam that each new beam continues.
        """
        index = parents[:, :, None].expand(-1, -1, self.used)
        self.bias = self.bias.gather(1, index)

    def open_slots(self, beams: int) -> None:
        """Make a slot for the next token of each beam, which only this beam sees."""
        dialogues = len(self.bias)
        if self.used + beams > self.capacity:
            self._grow(STEPS_BETWEEN_CLEANINGS * beams)
        own = torch.full((beams, beams), -math.inf).fill_diagonal_(0.0)
        self.bias = torch.cat([self.bias, own.expand(dialogues, -1, -1)], dim=2)
        self.used += beams

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the keys and values of the last opened slots, (dialogues, heads, beams, head size), and return all in use."""
        start = self.used - keys.shape[2]
        self.keys[layer][:, :, start : self.used] = keys
        self.values[layer][:, :, start : self.used] = values
        return self.keys[layer][:, :, : self.used], self.values[layer][:, :, : self.used]

    def keep(self, dialogues: torch.Tensor) -> None:
        """Keep only these dialogues, and the slots that one of their beams sees.

        Args:
            dialogues: (kept,); their indices.
        """
        bias = self.bias[dialogues]
        seen = (bias == 0).any(1)
        longest = int(seen.sum(1).max())
        # The seen slots of each dialogue come first, in their order. Shorter pools are filled with slots that no beam sees.
        order = seen.logical_not().to(torch.uint8).sort(dim=1, stable=True).indices[:, :longest]
        self.bias = bias.gather(2, order[:, None].expand(-1, bias.shape[1], -1))
        rows = dialogues[:, None]
        for stored in (self.keys, self.values):
            for layer, old in enumerate(stored):
                stored[layer] = old.transpose(1, 2)[rows, order].transpose(1, 2)
        self.used = longest

    def _grow(self, slots: int) -> None:
        heads, size = self.shape
        for stored in (self.keys, self.values):
            for layer, old in enumerate(stored):
                new = old.new_empty(old.shape[0], heads, self.used + slots, size)
                new[:, :, : self.used] = old[:, :, : self.used]
                stored[layer] = new

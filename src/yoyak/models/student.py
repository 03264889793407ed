"""A student: an encoder-decoder with some of its decoder layers, which writes faster.

The decoder runs once for each token, the encoder once for each dialogue: leaving out decoder layers saves most. Evenly spaced
layers are the usual start (Shleifer and Rush 2020, "Pre-trained Summarization Distillation", arXiv:2010.13002).
"""

import copy
from typing import TYPE_CHECKING, Any

from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

PARAM = "model.kobart.decoder_layers"
CONFIG_KEYS = ("decoder_layers", "num_decoder_layers")  # BART and its relatives; T5


def evenly_spaced(total: int, count: int) -> list[int]:
    """The places of `count` of `total` layers: the first, the last, and equal steps between them; of one, the first.

    6 of 12 are 0, 2, 4, 7, 9 and 11, as in Shleifer and Rush 2020.
    """
    if count == 1:
        return [0]
    return [(2 * place * (total - 1) + count - 1) // (2 * (count - 1)) for place in range(count)]


def check_layers(config: "PreTrainedConfig", checkpoint: str, count: int) -> str:
    """The key of the config that has the number of decoder layers.

    Raises:
        YoyakError: if the model has fewer layers, or its config does not say how many.
    """
    key = next((key for key in CONFIG_KEYS if getattr(config, key, None) is not None), None)
    if key is None:
        raise YoyakError(f"{PARAM}: the config of {checkpoint} does not say how many decoder layers it has; leave this empty")
    if count > (total := getattr(config, key)):
        raise YoyakError(f"{PARAM}: {count} is more than the {total} decoder layers of {checkpoint}")
    return key


def student_config(config: "PreTrainedConfig", checkpoint: str, count: int) -> "PreTrainedConfig":
    """A copy of the config with `count` decoder layers. YoyakError if the model has fewer."""
    smaller = copy.deepcopy(config)
    setattr(smaller, check_layers(config, checkpoint, count), count)
    return smaller


def keep_decoder_layers(model: "PreTrainedModel", checkpoint: str, count: int) -> list[int]:
    """Leave `count` evenly spaced decoder layers of a model, in place.

    Returns:
        The places of the layers that stay.

    Raises:
        YoyakError: if the model has fewer layers.
    """
    from torch.nn import ModuleList

    key = check_layers(model.config, checkpoint, count)
    kept = evenly_spaced(getattr(model.config, key), count)
    decoder: Any = model.get_decoder()
    name = "layers" if hasattr(decoder, "layers") else "block"
    layers = getattr(decoder, name)
    setattr(decoder, name, ModuleList(layers[place] for place in kept))
    for place, layer in enumerate(getattr(decoder, name)):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # its place in the cache of keys and values
                module.layer_idx = place
    setattr(model.config, key, count)
    if decoder.config is not model.config:  # T5's decoder has a config of its own
        decoder.config.num_layers = count
    return kept

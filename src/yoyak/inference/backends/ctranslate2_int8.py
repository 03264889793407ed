"""The backend `ctranslate2-int8`: CTranslate2 with weights and inputs of matrix products in 8 bits."""

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.ctranslate2 import CTranslate2Backend
from yoyak.models.families.base import LoadedModel
from yoyak.system import portable_kernels


class CTranslate2Int8Backend(CTranslate2Backend):
    name = "ctranslate2-int8"
    is_exact = False
    compute_type = "int8"

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        if portable_kernels.in_use():
            return "with hardware.portable, int8 is slower than float32"
        return super().why_not(loaded, settings)


BACKEND = CTranslate2Int8Backend()
